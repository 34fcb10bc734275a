/* Input: a file of saved logits. Checksums of header and table are set right first, so that what is behind
 * them is reached; what is asked for is what the header says, within bounds. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "codec/bytes.h"
#include "codec/checksum.h"
#include "runner/saved_logits.h"

#define HEADER_BYTES 64
#define MAX_SIZE     ((size_t)1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

static size_t smaller(uint64_t value, size_t limit)
{
    return value < limit ? (size_t)value : limit;
}

/* The window hashes of the file as far as they are there. */
static void set_right(uint8_t *bytes, size_t size, struct entro_saved_shape *shape, uint64_t hashes[64])
{
    size_t n_windows = smaller(entro_load_u64(bytes + 32), 1 << 16),
           table_bytes = n_windows * sizeof(uint64_t);
    shape->n_vocabulary = smaller(entro_load_u32(bytes + 12), 4096);
    shape->n_window = smaller(entro_load_u64(bytes + 16), SIZE_MAX);
    shape->n_scored = smaller(entro_load_u64(bytes + 24), SIZE_MAX);
    shape->n_windows = smaller(n_windows, 64);
    entro_store_u64(bytes + 56, entro_checksum64(bytes, 56));
    if (size < HEADER_BYTES + table_bytes + sizeof(uint64_t))
        return;
    memcpy(hashes, bytes + HEADER_BYTES, shape->n_windows * sizeof *hashes);
    entro_store_u64(bytes + HEADER_BYTES + table_bytes, entro_checksum64(bytes + HEADER_BYTES, table_bytes));
}

/* Every row that the header promises is there, and then none. */
static void read_rows(struct entro_saved_logits *saved, const struct entro_saved_shape *shape)
{
    struct entro_message message;
    uint8_t *row = malloc(saved->row_bytes);
    float *logits = malloc(shape->n_vocabulary * sizeof *logits + 1);
    require(row != NULL && logits != NULL);
    for (size_t i = 0; i < shape->n_windows * shape->n_scored; i++) {
        require(entro_saved_read(saved, 1, row, &message) == ENTRO_OK);
        if (entro_saved_row_unpack(row, shape->n_vocabulary, logits))
            for (size_t k = 0; k < shape->n_vocabulary; k++)
                require(logits[k] <= 0 && logits[k] >= -32);
    }
    free(logits);
    free(row);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct entro_saved_shape shape = {.n_vocabulary = 3, .n_window = 8, .n_scored = 3, .n_windows = 1};
    struct entro_saved_logits saved;
    struct entro_message message;
    uint64_t hashes[64] = {0};
    char path[64];
    if (size > MAX_SIZE)
        return 0;
    uint8_t *bytes = malloc(size + 1);
    int fd = memfd_create("saved", MFD_CLOEXEC);
    require(bytes != NULL && fd >= 0);
    if (size > 0)
        memcpy(bytes, data, size);
    if (size >= HEADER_BYTES)
        set_right(bytes, size, &shape, hashes);
    require(write(fd, bytes, size) == (ssize_t)size);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    /* A window without rows promises as many of them as it likes. */
    if (entro_saved_open(&saved, path, &shape, hashes, &message) == ENTRO_OK && shape.n_scored < MAX_SIZE)
        read_rows(&saved, &shape);
    entro_saved_close(&saved);
    close(fd);
    free(bytes);
    return 0;
}
