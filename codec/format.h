/*
 * The on-disk format and nothing else: little-endian records as they lie in an image. FORMAT.md is the
 * specification; this header is its transcription. Everything read from an image is hostile until image.c has
 * validated it.
 */
#ifndef ENTRO_FORMAT_H
#define ENTRO_FORMAT_H

#include <assert.h>
#include <stdint.h>

#define ENTRO_MAGIC                                                                                          \
    "\x89"                                                                                                   \
    "ENTROFS" /* 8 bytes, no terminator in the image */
#define ENTRO_FORMAT_VERSION   1
#define ENTRO_SUPERBLOCK_BYTES 4096
#define ENTRO_NONE             UINT32_MAX /* "no such record" in a reference */

/* A block decodes to 2^block_log2 bytes (the last of a plane to what is left). */
#define ENTRO_BLOCK_LOG2_MIN     12
#define ENTRO_BLOCK_LOG2_MAX     17
#define ENTRO_BLOCK_LOG2_DEFAULT 16
#define ENTRO_BLOCK_MAX_BYTES    ((uint32_t)1 << ENTRO_BLOCK_LOG2_MAX)

/* Limits that a reader enforces, so that sizes derived from valid records never overflow. */
#define ENTRO_IMAGE_MAX_BYTES  ((uint64_t)1 << 44) /* a block's offset has 44 bits */
#define ENTRO_INDEX_MAX_BYTES  ((uint64_t)1 << 32) /* a reader holds it in memory */
#define ENTRO_STREAM_MAX_BYTES ((uint64_t)1 << 46)
#define ENTRO_NAME_MAX_BYTES   240 /* of a tensor: leaves room for suffixes within NAME_MAX */
#define ENTRO_PATH_MAX_BYTES   4000
#define ENTRO_MAX_FIELDS       16
#define ENTRO_LAYOUT_MAX_BYTES 4096 /* record size of a layout */
#define ENTRO_OUTLIER_BYTES    12   /* u64 element index, F32 value */

/* The tables of the index, in the order in which they tile it. */
enum entro_table {
    ENTRO_TABLE_STRINGS,   /* bytes: the files' paths, then the tensors' names, one after another, not
                              terminated */
    ENTRO_TABLE_FILES,     /* struct entro_disk_file, sorted by path (bytewise) */
    ENTRO_TABLE_EXTENTS,   /* struct entro_disk_extent */
    ENTRO_TABLE_TENSORS,   /* struct entro_disk_tensor, sorted by name (bytewise) */
    ENTRO_TABLE_STREAMS,   /* struct entro_disk_stream */
    ENTRO_TABLE_LAYOUTS,   /* struct entro_disk_layout */
    ENTRO_TABLE_PLANES,    /* struct entro_disk_plane */
    ENTRO_TABLE_CODEBOOKS, /* 128 bytes: 256 code lengths, a nibble each, even symbol in the low nibble */
    ENTRO_TABLE_BLOCKS,    /* struct entro_disk_block */
    ENTRO_N_TABLES
};

/* Where a table lies: `offset` from the start of the index, a multiple of 8 (zero padding between tables);
 * `count` records (or bytes). */
struct entro_disk_table {
    uint64_t offset;
    uint64_t count;
};

struct entro_disk_superblock {
    uint8_t magic[8];
    uint32_t version;
    uint32_t superblock_bytes;
    uint64_t incompatible; /* feature bits: a reader that does not know one refuses the image */
    uint64_t compatible;   /* feature bits that a reader may ignore */
    uint64_t image_bytes;
    uint64_t index_offset;
    uint64_t index_bytes;
    uint8_t index_xxh3_128[16]; /* canonical (big-endian) XXH3-128 of the index; also the image's id */
    uint32_t source;            /* enum entro_source */
    uint32_t reserved;
    struct entro_disk_table tables[ENTRO_N_TABLES];
    uint8_t zero[4088 - 80 - 16 * ENTRO_N_TABLES];
    uint64_t xxh3_64; /* of the 4088 bytes before */
};
static_assert(sizeof(struct entro_disk_superblock) == ENTRO_SUPERBLOCK_BYTES, "superblock is one page");

enum entro_source {
    ENTRO_SOURCE_SAFETENSORS = 1,
    ENTRO_SOURCE_GGUF = 2,
    ENTRO_SOURCE_NPY = 3,
};

/* A file of the model directory: the concatenation of its extents. */
struct entro_disk_file {
    uint32_t path_offset; /* into the strings; '/'-separated, relative, no empty, "." or ".." part */
    uint32_t path_bytes;
    uint32_t first_extent;
    uint32_t n_extents;
    uint64_t size_bytes; /* sum of the extents' sizes */
};
static_assert(sizeof(struct entro_disk_file) == 24, "file record");

enum entro_extent_kind {
    ENTRO_EXTENT_STREAM = 0, /* bytes offset..offset+size of stream `reference` */
    ENTRO_EXTENT_VIEW = 1,   /* the whole of tensor `reference` dequantized to `dtype` (offset 0) */
};

struct entro_disk_extent {
    uint8_t kind;
    uint8_t reserved;
    uint16_t dtype; /* enum entro_dtype of a view: F32, F16, BF16, Q8_0 or Q4_1; else 0 */
    uint32_t reference;
    uint64_t offset;
    uint64_t size_bytes;
};
static_assert(sizeof(struct entro_disk_extent) == 24, "extent record");

/* The numbers are the format's; names in tensors.json: lossless, unsigned, asymmetric, balanced. */
enum entro_scheme {
    ENTRO_SCHEME_LOSSLESS = 0,
    ENTRO_SCHEME_UNSIGNED = 1,
    ENTRO_SCHEME_ASYMMETRIC = 2,
    ENTRO_SCHEME_BALANCED = 3,
};

struct entro_disk_tensor {
    uint32_t name_offset;
    uint32_t name_bytes;
    uint16_t dtype; /* enum entro_dtype of the source */
    uint8_t scheme; /* enum entro_scheme */
    uint8_t bits;   /* 8, 4, or 0 for lossless */
    uint8_t rank;
    uint8_t reserved[3];
    uint32_t stream;       /* codes, or the source's bytes */
    uint32_t row_scale;    /* stream of shape[0] F16 values, or ENTRO_NONE */
    uint32_t column_scale; /* stream of elements / shape[0] F16 values, or ENTRO_NONE */
    uint32_t outliers;     /* stream of 12-byte records (u64 element index, F32 value), strictly ascending, or
                              ENTRO_NONE */
    float scale;
    int32_t zero_point;
    double entropy_bits; /* order-0 entropy of the codes (packed pairs halved), bits a weight; of a lossless
                            tensor: bits an element */
    double snr_db;       /* what quantization costs; infinite for lossless */
    uint64_t shape[8];   /* row-major, outermost first; unused ones are 0 */
};
static_assert(sizeof(struct entro_disk_tensor) == 120, "tensor record");

/* A sequence of bytes, stored as the planes of its layout. */
struct entro_disk_stream {
    uint64_t size_bytes;  /* a multiple of the layout's record size */
    uint8_t xxh3_128[16]; /* canonical, of the decoded bytes */
    uint32_t layout;
    uint32_t first_plane; /* as many as the layout has fields, one after another */
};
static_assert(sizeof(struct entro_disk_stream) == 32, "stream record");

/* How records of a stream are split into planes: plane i holds field i of every record, in order. */
struct entro_disk_layout {
    uint16_t record_bytes;
    uint8_t rotate_bytes; /* 0, or 2, 4, 8: each word of so many bytes is rotated left by one bit before it is
                             split */
    uint8_t n_fields;     /* 1 to 16 */
    uint16_t field_bytes[ENTRO_MAX_FIELDS]; /* sum is record_bytes; unused ones are 0 */
    uint8_t reserved[4];
};
static_assert(sizeof(struct entro_disk_layout) == 40, "layout record");

/* A plane's size is stream size / record_bytes * field_bytes; it has ceil(size / 2^block_log2) blocks. */
struct entro_disk_plane {
    uint64_t first_block;
    uint32_t codebook;      /* ENTRO_NONE where no block is coded */
    uint32_t root_codebook; /* for the bitmaps of the tree's root; ENTRO_NONE where they are not coded */
    uint8_t block_log2;
    uint8_t reserved[7];
};
static_assert(sizeof(struct entro_disk_plane) == 24, "plane record");

enum entro_method {
    ENTRO_METHOD_CONSTANT = 0, /* stored: the one byte that all bytes of the block are */
    ENTRO_METHOD_RAW = 1,      /* stored: the bytes themselves */
    ENTRO_METHOD_CODED = 2,    /* stored: pivot-coded, see pivot.h; always shorter than raw */
};

struct entro_disk_block {
    uint64_t place; /* offset in the image (44 bits) | stored size (18 bits) << 44 | method (2 bits) << 62 */
    uint64_t xxh3_64; /* of the stored bytes */
};
static_assert(sizeof(struct entro_disk_block) == 16, "block record");

#define ENTRO_BLOCK_PLACE(offset, size, method)                                                              \
    ((uint64_t)(offset) | (uint64_t)(size) << 44 | (uint64_t)(method) << 62)
#define ENTRO_BLOCK_OFFSET(place) ((uint64_t)(place) & (((uint64_t)1 << 44) - 1))
#define ENTRO_BLOCK_SIZE(place)   ((uint32_t)((uint64_t)(place) >> 44 & 0x3ffff))
#define ENTRO_BLOCK_METHOD(place) ((unsigned)((uint64_t)(place) >> 62))

#endif
