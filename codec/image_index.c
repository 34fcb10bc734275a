/* The index as a whole: where the tables lie, and the half that says what there is (tensors, files). See
 * image_index.h. */
#include "codec/image_index.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "codec/bytes.h"
#include "codec/image_rules.h"

const uint16_t entro_table_record_bytes[ENTRO_N_TABLES] = {
    [ENTRO_TABLE_STRINGS] = 1,
    [ENTRO_TABLE_FILES] = sizeof(struct entro_disk_file),
    [ENTRO_TABLE_EXTENTS] = sizeof(struct entro_disk_extent),
    [ENTRO_TABLE_TENSORS] = sizeof(struct entro_disk_tensor),
    [ENTRO_TABLE_STREAMS] = sizeof(struct entro_disk_stream),
    [ENTRO_TABLE_LAYOUTS] = sizeof(struct entro_disk_layout),
    [ENTRO_TABLE_PLANES] = sizeof(struct entro_disk_plane),
    [ENTRO_TABLE_CODEBOOKS] = ENTRO_CODEBOOK_BYTES,
    [ENTRO_TABLE_BLOCKS] = sizeof(struct entro_disk_block),
};

/* Sizes of files and positions in them fit a signed 64-bit file offset. */
#define FILE_MAX_BYTES ((uint64_t)INT64_MAX)

static bool is_zero(const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

/* Tables tile the index in order, each at a multiple of 8, with zeros between. */
static enum entro_error locate_tables(struct entro_index *index,
                                      const struct entro_disk_superblock *superblock, const uint8_t *bytes,
                                      struct entro_message *message)
{
    uint64_t end = 0;
    for (unsigned i = 0; i < ENTRO_N_TABLES; i++) {
        const struct entro_disk_table *table = &superblock->tables[i];
        uint64_t start = entro_table_align(end);
        if (start > superblock->index_bytes || table->offset != start)
            return entro_fail(message, ENTRO_ERROR_FORMAT,
                              "table %u of the index is at %" PRIu64 ", expected at %" PRIu64, i,
                              table->offset, start);
        if (!is_zero(bytes + end, start - end))
            return entro_fail(message, ENTRO_ERROR_FORMAT, "padding before table %u of the index is not zero",
                              i);
        if (table->count > (superblock->index_bytes - start) / entro_table_record_bytes[i])
            return entro_fail(message, ENTRO_ERROR_FORMAT,
                              "table %u has %" PRIu64 " records, more than the index has room for", i,
                              table->count);
        if (i != ENTRO_TABLE_BLOCKS && table->count >= ENTRO_NONE)
            return entro_fail(message, ENTRO_ERROR_FORMAT, "table %u has too many records", i);
        index->tables[i] = bytes + start;
        index->counts[i] = table->count;
        end = start + table->count * entro_table_record_bytes[i];
    }
    if (entro_table_align(end) != superblock->index_bytes ||
        !is_zero(bytes + end, superblock->index_bytes - end))
        return entro_fail(message, ENTRO_ERROR_FORMAT,
                          "the index has %" PRIu64 " bytes, its tables end at %" PRIu64,
                          superblock->index_bytes, end);
    return ENTRO_OK;
}

/* Strings tile their table: each starts where the one before ended. */
struct string_cursor {
    uint64_t offset; /* into the table */
    char *copy;      /* where the next NUL-terminated copy goes */
};

static const char *next_string(const struct entro_index *index, struct string_cursor *cursor, uint32_t offset,
                               uint32_t size, struct entro_message *message)
{
    if (offset != cursor->offset || size > index->counts[ENTRO_TABLE_STRINGS] - cursor->offset) {
        entro_fail(message, ENTRO_ERROR_FORMAT,
                   "a string of %" PRIu32 " bytes is at %" PRIu32 " of the strings, expected at %" PRIu64,
                   size, offset, cursor->offset);
        return NULL;
    }
    char *string = cursor->copy;
    memcpy(string, index->tables[ENTRO_TABLE_STRINGS] + offset, size);
    string[size] = '\0';
    cursor->offset += size;
    cursor->copy += size + 1;
    return string;
}

static enum entro_error parse_tensors(struct entro_index *index, const uint64_t *stream_sizes,
                                      struct string_cursor *strings, struct entro_message *message)
{
    for (uint64_t i = 0; i < index->counts[ENTRO_TABLE_TENSORS]; i++) {
        struct entro_disk_tensor disk;
        memcpy(&disk, index->tables[ENTRO_TABLE_TENSORS] + i * sizeof disk, sizeof disk);
        struct entro_tensor *tensor = &index->tensors[i];
        tensor->name = next_string(index, strings, disk.name_offset, disk.name_bytes, message);
        if (tensor->name == NULL)
            return ENTRO_ERROR_FORMAT;
        struct entro_quoted name = entro_quote(tensor->name, disk.name_bytes);
        const char *fault = entro_name_fault(tensor->name, disk.name_bytes);
        if (fault != NULL)
            return entro_fail(message, ENTRO_ERROR_FORMAT, "tensor name \"%s\" %s", name.text, fault);
        if (i > 0 && strcmp(tensor[-1].name, tensor->name) >= 0)
            return entro_fail(message, ENTRO_ERROR_FORMAT, "tensor \"%s\" is there twice or not in order",
                              name.text);
        if (!is_zero(disk.reserved, sizeof disk.reserved))
            return entro_fail(message, ENTRO_ERROR_FORMAT, "tensor \"%s\" has reserved bytes that are not 0",
                              name.text);
        tensor->dtype = (enum entro_dtype)disk.dtype;
        tensor->scheme = (enum entro_scheme)disk.scheme;
        tensor->bits = disk.bits;
        tensor->rank = disk.rank;
        memcpy(tensor->shape, disk.shape, sizeof tensor->shape);
        tensor->stream = disk.stream;
        tensor->row_scale = disk.row_scale;
        tensor->column_scale = disk.column_scale;
        tensor->outliers = disk.outliers;
        tensor->scale = disk.scale;
        tensor->zero_point = disk.zero_point;
        tensor->entropy_bits = disk.entropy_bits;
        tensor->snr_db = disk.snr_db;
        enum entro_error error =
            entro_tensor_check(tensor, stream_sizes, (uint32_t)index->counts[ENTRO_TABLE_STREAMS], message);
        if (error != ENTRO_OK)
            return error;
    }
    return ENTRO_OK;
}

static void parse_extents(struct entro_index *index)
{
    for (uint64_t i = 0; i < index->counts[ENTRO_TABLE_EXTENTS]; i++) {
        struct entro_disk_extent disk;
        memcpy(&disk, index->tables[ENTRO_TABLE_EXTENTS] + i * sizeof disk, sizeof disk);
        index->extents[i] = (struct entro_extent){
            /* A reserved byte that is not 0 makes the kind unknown, which the check of extents refuses. */
            .kind = (enum entro_extent_kind)(disk.reserved == 0 ? disk.kind : UINT8_MAX),
            .dtype = (enum entro_dtype)disk.dtype,
            .reference = disk.reference,
            .offset = disk.offset,
            .size_bytes = disk.size_bytes,
        };
    }
}

static const struct entro_tensor *tensor_of_index(const void *context, uint32_t number)
{
    const struct entro_index *index = context;
    return &index->tensors[number];
}

/* The files that the current path starts with, bytewise: since paths are sorted, one that is also a folder of
 * it is among them. */
struct prefixes {
    size_t n;
    uint16_t sizes[ENTRO_PATH_MAX_BYTES + 1];
};

/* Takes the next path; false where a path before it is a folder of it. Linear in the size of the path. */
static bool next_path(struct prefixes *prefixes, const char *previous, const char *path)
{
    size_t common = 0;
    while (previous[common] != '\0' && previous[common] == path[common])
        common++;
    while (prefixes->n > 0 && prefixes->sizes[prefixes->n - 1] > common)
        prefixes->n--;
    for (size_t i = 0; i < prefixes->n; i++)
        if (path[prefixes->sizes[i]] == '/')
            return false;
    prefixes->sizes[prefixes->n++] = (uint16_t)strlen(path);
    return true;
}

static enum entro_error parse_file(struct entro_index *index, uint64_t number,
                                   const struct entro_extent_targets *targets, uint64_t *next_extent,
                                   struct string_cursor *strings, struct entro_message *message)
{
    struct entro_disk_file disk;
    memcpy(&disk, index->tables[ENTRO_TABLE_FILES] + number * sizeof disk, sizeof disk);
    struct entro_file *file = &index->files[number];
    file->path = next_string(index, strings, disk.path_offset, disk.path_bytes, message);
    if (file->path == NULL)
        return ENTRO_ERROR_FORMAT;
    struct entro_quoted path = entro_quote(file->path, disk.path_bytes);
    const char *fault = entro_path_fault(file->path, disk.path_bytes);
    if (fault != NULL)
        return entro_fail(message, ENTRO_ERROR_FORMAT, "path \"%s\" %s", path.text, fault);
    if (number > 0 && strcmp(file[-1].path, file->path) >= 0)
        return entro_fail(message, ENTRO_ERROR_FORMAT, "file \"%s\" is there twice or not in order",
                          path.text);
    if (disk.first_extent != *next_extent ||
        disk.n_extents > index->counts[ENTRO_TABLE_EXTENTS] - *next_extent)
        return entro_fail(message, ENTRO_ERROR_FORMAT,
                          "file \"%s\" has %" PRIu32 " extents from %" PRIu32 " on, but %" PRIu64
                          " of %" PRIu64 " are taken",
                          path.text, disk.n_extents, disk.first_extent, *next_extent,
                          index->counts[ENTRO_TABLE_EXTENTS]);
    file->size_bytes = disk.size_bytes;
    file->n_extents = disk.n_extents;
    file->extents = &index->extents[*next_extent];
    *next_extent += disk.n_extents;

    uint64_t sum = 0;
    for (uint32_t i = 0; i < file->n_extents; i++) {
        fault = entro_extent_fault(&file->extents[i], targets);
        if (fault != NULL)
            return entro_fail(message, ENTRO_ERROR_FORMAT, "extent %" PRIu32 " of file \"%s\" %s", i,
                              path.text, fault);
        if (!entro_add_u64(sum, file->extents[i].size_bytes, &sum) || sum > FILE_MAX_BYTES)
            return entro_fail(message, ENTRO_ERROR_FORMAT, "file \"%s\" is larger than a file can be",
                              path.text);
    }
    if (sum != file->size_bytes)
        return entro_fail(message, ENTRO_ERROR_FORMAT,
                          "file \"%s\" has %" PRIu64 " bytes, its extents %" PRIu64, path.text,
                          file->size_bytes, sum);
    return ENTRO_OK;
}

static enum entro_error parse_files(struct entro_index *index, const uint64_t *stream_sizes,
                                    struct string_cursor *strings, struct entro_message *message)
{
    const struct entro_extent_targets targets = {
        .stream_sizes = stream_sizes,
        .n_streams = (uint32_t)index->counts[ENTRO_TABLE_STREAMS],
        .n_tensors = (uint32_t)index->counts[ENTRO_TABLE_TENSORS],
        .tensor = tensor_of_index,
        .context = index,
    };
    struct prefixes prefixes = {.n = 0};
    uint64_t n_extents = 0;
    for (uint64_t i = 0; i < index->counts[ENTRO_TABLE_FILES]; i++) {
        enum entro_error error = parse_file(index, i, &targets, &n_extents, strings, message);
        if (error != ENTRO_OK)
            return error;
        const char *path = index->files[i].path;
        if (!next_path(&prefixes, i > 0 ? index->files[i - 1].path : "", path)) {
            struct entro_quoted quoted = entro_quote(path, strlen(path));
            return entro_fail(message, ENTRO_ERROR_FORMAT, "a folder of \"%s\" is also a file", quoted.text);
        }
    }
    if (n_extents != index->counts[ENTRO_TABLE_EXTENTS])
        return entro_fail(message, ENTRO_ERROR_FORMAT, "the index has extents that no file uses");
    return ENTRO_OK;
}

static bool allocate(struct entro_index *index)
{
    const uint64_t *counts = index->counts;
    /* Counts are bounded by the index's size, which is in memory already: sums and products fit. */
    index->strings =
        malloc(counts[ENTRO_TABLE_STRINGS] + counts[ENTRO_TABLE_FILES] + counts[ENTRO_TABLE_TENSORS] + 1);
    index->files = calloc(counts[ENTRO_TABLE_FILES] + 1, sizeof *index->files);
    index->extents = calloc(counts[ENTRO_TABLE_EXTENTS] + 1, sizeof *index->extents);
    index->tensors = calloc(counts[ENTRO_TABLE_TENSORS] + 1, sizeof *index->tensors);
    index->streams = calloc(counts[ENTRO_TABLE_STREAMS] + 1, sizeof *index->streams);
    index->planes = calloc(counts[ENTRO_TABLE_PLANES] + 1, sizeof *index->planes);
    index->layouts = calloc(counts[ENTRO_TABLE_LAYOUTS] + 1, sizeof *index->layouts);
    return index->strings != NULL && index->files != NULL && index->extents != NULL &&
           index->tensors != NULL && index->streams != NULL && index->planes != NULL &&
           index->layouts != NULL;
}

/* Tensors come before files, whose views refer to them; but the files' paths come first among the strings. */
static enum entro_error parse_names(struct entro_index *index, const uint64_t *stream_sizes,
                                    struct entro_message *message)
{
    uint64_t n_files = index->counts[ENTRO_TABLE_FILES];
    uint64_t paths_bytes = 0;
    for (uint64_t i = 0; i < n_files; i++) {
        struct entro_disk_file disk;
        memcpy(&disk, index->tables[ENTRO_TABLE_FILES] + i * sizeof disk, sizeof disk);
        paths_bytes += disk.path_bytes;
    }
    if (paths_bytes > index->counts[ENTRO_TABLE_STRINGS])
        return entro_fail(message, ENTRO_ERROR_FORMAT,
                          "the paths of the files are longer than the strings of the index");
    struct string_cursor paths = {.offset = 0, .copy = index->strings};
    struct string_cursor names = {.offset = paths_bytes, .copy = index->strings + paths_bytes + n_files};

    enum entro_error error = parse_tensors(index, stream_sizes, &names, message);
    if (error == ENTRO_OK)
        error = parse_files(index, stream_sizes, &paths, message);
    if (error == ENTRO_OK && names.offset != index->counts[ENTRO_TABLE_STRINGS])
        error = entro_fail(message, ENTRO_ERROR_FORMAT, "the index has strings that nothing uses");
    return error;
}

enum entro_error entro_index_parse(struct entro_index *index, const struct entro_disk_superblock *superblock,
                                   const uint8_t *bytes, struct entro_message *message)
{
    *index = (struct entro_index){0};
    uint64_t *stream_sizes = NULL;
    enum entro_error error = locate_tables(index, superblock, bytes, message);
    if (error != ENTRO_OK)
        goto out;
    stream_sizes = malloc((index->counts[ENTRO_TABLE_STREAMS] + 1) * sizeof *stream_sizes);
    if (stream_sizes == NULL || !allocate(index)) {
        error = entro_fail(message, ENTRO_ERROR_NO_MEMORY, "no memory for the index of the image");
        goto out;
    }
    error = entro_index_parse_streams(index, superblock->index_offset, message);
    if (error != ENTRO_OK)
        goto out;
    for (uint64_t i = 0; i < index->counts[ENTRO_TABLE_STREAMS]; i++)
        stream_sizes[i] = index->streams[i].size_bytes;
    parse_extents(index);
    error = parse_names(index, stream_sizes, message);
out:
    free(stream_sizes);
    if (error != ENTRO_OK)
        entro_index_free(index);
    return error;
}

void entro_index_free(struct entro_index *index)
{
    free(index->layouts);
    free(index->planes);
    free(index->streams);
    free(index->tensors);
    free(index->extents);
    free(index->files);
    free(index->strings);
    *index = (struct entro_index){0};
}
