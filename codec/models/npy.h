/*
 * NumPy's .npy format, version 1.0: header of a file written, and headers of versions 1 to 3 read.
 * Source: NumPy documentation, "numpy.lib.format".
 */
#ifndef ENTRO_MODELS_NPY_H
#define ENTRO_MODELS_NPY_H

#include <stddef.h>
#include <stdint.h>

#include "codec/dtype.h"
#include "codec/error.h"

/* Room that any header made by entro_npy_header needs at most. */
#define ENTRO_NPY_HEADER_MAX_BYTES 512

/*
 * Writes the header of a C-order array of `descr` ("|u1", "<f4", ...) and returns its length, a multiple of
 * 64; 0 where rank is above ENTRO_MAX_RANK or the descr is absurdly long. Thread-safe.
 */
size_t entro_npy_header(uint8_t header[ENTRO_NPY_HEADER_MAX_BYTES], const char *descr, const uint64_t *shape,
                        unsigned rank);

/* The descr that stands for a dtype: its own where NumPy has one, else that of unsigned integers of the same
 * size ("<u2" for BF16), or
 * "|u1" for block types and types under a byte. */
const char *entro_npy_descr(enum entro_dtype dtype);

struct entro_npy {
    enum entro_dtype dtype;
    unsigned rank;
    uint64_t shape[ENTRO_MAX_RANK];
    uint64_t data_offset;
    uint64_t size_bytes;
};

/*
 * Parses the header at the start of `bytes` (the first size_bytes bytes of a file of file_size_bytes).
 * Refused: Fortran order of rank two and more, big-endian, structured and object dtypes, data shorter or
 * longer than the shape says. ENTRO_ERROR_FORMAT, _UNSUPPORTED.
 */
enum entro_error entro_npy_parse(struct entro_npy *out, const uint8_t *bytes, size_t size_bytes,
                                 uint64_t file_size_bytes, const char *path, struct entro_message *message);

#endif
