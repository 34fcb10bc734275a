/* Saved predictions; see saved_logits.h. */
#include "runner/saved_logits.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "codec/bytes.h"
#include "codec/checksum.h"

#define MAGIC          "ENTROLGT"
#define VERSION        1
#define HEADER_BYTES   64
#define CHECKSUM_BYTES sizeof(uint64_t)
#define STEPS_PER_NAT  2048.0F
#define LARGEST_CODE   65535.0F

size_t entro_saved_row_bytes(size_t n_vocabulary)
{
    return n_vocabulary * sizeof(uint16_t) + CHECKSUM_BYTES;
}

void entro_saved_row_pack(const float *logits, size_t n_vocabulary, size_t top, uint8_t *row)
{
    size_t codes_bytes = n_vocabulary * sizeof(uint16_t);
    for (size_t i = 0; i < n_vocabulary; i++) {
        float steps = (logits[top] - logits[i]) * STEPS_PER_NAT + 0.5F;
        /* Only the first of the largest has 0, so that it is known again. */
        steps = steps < 1.0F ? 1.0F : steps;
        entro_store_u16(row + 2 * i, (uint16_t)(steps < LARGEST_CODE ? steps : LARGEST_CODE));
    }
    entro_store_u16(row + 2 * top, 0);
    entro_store_u64(row + codes_bytes, entro_checksum64(row, codes_bytes));
}

bool entro_saved_row_unpack(const uint8_t *row, size_t n_vocabulary, float *logits)
{
    size_t codes_bytes = n_vocabulary * sizeof(uint16_t);
    if (entro_load_u64(row + codes_bytes) != entro_checksum64(row, codes_bytes))
        return false;
    for (size_t i = 0; i < n_vocabulary; i++)
        logits[i] = (float)entro_load_u16(row + 2 * i) * (-1.0F / STEPS_PER_NAT);
    return true;
}

uint64_t entro_saved_window_hash(const uint32_t *tokens, size_t n_tokens)
{
    return entro_checksum64(tokens, n_tokens * sizeof *tokens);
}

/* Bytes of header, table and rows. False where no file can be so large. */
static bool file_bytes(const struct entro_saved_shape *shape, uint64_t *table_bytes, uint64_t *total)
{
    uint64_t rows;
    return entro_mul_u64(shape->n_windows, sizeof(uint64_t), table_bytes) &&
           entro_mul_u64(shape->n_windows, shape->n_scored, &rows) &&
           entro_mul_u64(rows, entro_saved_row_bytes(shape->n_vocabulary), &rows) &&
           entro_add_u64(HEADER_BYTES + CHECKSUM_BYTES, *table_bytes, total) &&
           entro_add_u64(*total, rows, total) && *total <= INT64_MAX;
}

enum entro_error entro_saved_create(struct entro_output *output, const char *path,
                                    const struct entro_saved_shape *shape, const uint64_t *window_hashes,
                                    struct entro_message *message)
{
    uint8_t header[HEADER_BYTES] = {0}, checksum[CHECKSUM_BYTES];
    uint64_t table_bytes, total;
    *output = (struct entro_output){.folder = -1, .fd = -1};
    if (shape->n_vocabulary > UINT32_MAX || !file_bytes(shape, &table_bytes, &total))
        return entro_fail(message, ENTRO_ERROR_ARGUMENT, "%s: there are too many logits for a file", path);
    memcpy(header, MAGIC, 8);
    entro_store_u32(header + 8, VERSION);
    entro_store_u32(header + 12, (uint32_t)shape->n_vocabulary);
    entro_store_u64(header + 16, shape->n_window);
    entro_store_u64(header + 24, shape->n_scored);
    entro_store_u64(header + 32, shape->n_windows);
    entro_store_u64(header + 56, entro_checksum64(header, 56));
    entro_store_u64(checksum, entro_checksum64(window_hashes, (size_t)table_bytes));
    enum entro_error error = entro_output_create(output, path, true, message);
    if (error == ENTRO_OK)
        error = entro_output_append(output, header, sizeof header, message);
    if (error == ENTRO_OK)
        error = entro_output_append(output, window_hashes, (size_t)table_bytes, message);
    if (error == ENTRO_OK)
        error = entro_output_append(output, checksum, sizeof checksum, message);
    return error;
}

static enum entro_error read_at(const struct entro_saved_logits *saved, void *target, size_t size_bytes,
                                uint64_t offset, struct entro_message *message)
{
    for (size_t done = 0; done < size_bytes;) {
        ssize_t n = pread(saved->fd, (uint8_t *)target + done, size_bytes - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return entro_fail(message, ENTRO_ERROR_IO, "%s: %s", saved->path, strerror(errno));
        if (n == 0)
            return entro_fail(message, ENTRO_ERROR_FORMAT, "%s: the file ends too early", saved->path);
        done += (size_t)n;
    }
    return ENTRO_OK;
}

/* Reads the header into *shape and holds it against the size of the file. */
static enum entro_error read_header(const struct entro_saved_logits *saved, struct entro_saved_shape *shape,
                                    uint64_t *table_bytes, struct entro_message *message)
{
    uint8_t header[HEADER_BYTES];
    struct stat status;
    uint64_t total;
    if (fstat(saved->fd, &status) != 0)
        return entro_fail(message, ENTRO_ERROR_IO, "%s: %s", saved->path, strerror(errno));
    if (!S_ISREG(status.st_mode) || status.st_size < HEADER_BYTES)
        return entro_fail(message, ENTRO_ERROR_FORMAT, "%s: no file of saved logits", saved->path);
    enum entro_error error = read_at(saved, header, sizeof header, 0, message);
    if (error != ENTRO_OK)
        return error;
    if (memcmp(header, MAGIC, 8) != 0)
        return entro_fail(message, ENTRO_ERROR_FORMAT, "%s: no file of saved logits", saved->path);
    if (entro_load_u32(header + 8) != VERSION)
        return entro_fail(message, ENTRO_ERROR_FORMAT, "%s: saved logits of version %u, this program reads 1",
                          saved->path, entro_load_u32(header + 8));
    *shape = (struct entro_saved_shape){.n_vocabulary = entro_load_u32(header + 12),
                                        .n_window = entro_load_u64(header + 16),
                                        .n_scored = entro_load_u64(header + 24),
                                        .n_windows = entro_load_u64(header + 32)};
    if (entro_load_u64(header + 56) != entro_checksum64(header, 56) ||
        !file_bytes(shape, table_bytes, &total))
        return entro_fail(message, ENTRO_ERROR_FORMAT, "%s: its header is damaged", saved->path);
    if ((uint64_t)status.st_size != total)
        return entro_fail(message, ENTRO_ERROR_FORMAT,
                          "%s: has %" PRIu64 " bytes instead of %" PRIu64 ": it was cut off or written to",
                          saved->path, (uint64_t)status.st_size, total);
    return ENTRO_OK;
}

static enum entro_error compare_shapes(const char *path, const struct entro_saved_shape *file,
                                       const struct entro_saved_shape *wanted, struct entro_message *message)
{
    if (file->n_vocabulary != wanted->n_vocabulary)
        return entro_fail(
            message, ENTRO_ERROR_ARGUMENT,
            "%s: is of a vocabulary of %zu tokens, the model has one of %zu: they cannot be compared", path,
            file->n_vocabulary, wanted->n_vocabulary);
    if (file->n_window != wanted->n_window || file->n_scored != wanted->n_scored)
        return entro_fail(message, ENTRO_ERROR_ARGUMENT,
                          "%s: is of windows of %zu tokens with %zu scored, not of %zu with %zu (-c and "
                          "--convention must be the same)",
                          path, file->n_window, file->n_scored, wanted->n_window, wanted->n_scored);
    if (file->n_windows < wanted->n_windows)
        return entro_fail(message, ENTRO_ERROR_ARGUMENT,
                          "%s: has %zu windows, the text %zu: --chunks %zu measures those", path,
                          file->n_windows, wanted->n_windows, file->n_windows);
    return ENTRO_OK;
}

static enum entro_error check_windows(const struct entro_saved_logits *saved, uint64_t table_bytes,
                                      const uint64_t *window_hashes, size_t n_windows,
                                      struct entro_message *message)
{
    /* As large as a part of a file that is there. */
    uint8_t *table = malloc((size_t)table_bytes + CHECKSUM_BYTES);
    if (table == NULL)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "%s: out of memory", saved->path);
    enum entro_error error =
        read_at(saved, table, (size_t)table_bytes + CHECKSUM_BYTES, HEADER_BYTES, message);
    if (error == ENTRO_OK &&
        entro_load_u64(table + table_bytes) != entro_checksum64(table, (size_t)table_bytes))
        error = entro_fail(message, ENTRO_ERROR_FORMAT, "%s: its table of windows is damaged", saved->path);
    for (size_t i = 0; error == ENTRO_OK && i < n_windows; i++)
        if (entro_load_u64(table + i * sizeof(uint64_t)) != window_hashes[i])
            error =
                entro_fail(message, ENTRO_ERROR_ARGUMENT,
                           "%s: is of another text, or of a tokenizer that reads it differently (window %zu)",
                           saved->path, i + 1);
    free(table);
    return error;
}

enum entro_error entro_saved_open(struct entro_saved_logits *saved, const char *path,
                                  const struct entro_saved_shape *shape, const uint64_t *window_hashes,
                                  struct entro_message *message)
{
    struct entro_saved_shape found;
    uint64_t table_bytes;
    /* O_NONBLOCK: a FIFO is refused, not waited for. */
    *saved = (struct entro_saved_logits){.fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), .path = path};
    if (saved->fd < 0)
        return entro_fail(message, errno == ENOENT ? ENTRO_ERROR_NOT_FOUND : ENTRO_ERROR_IO, "%s: %s", path,
                          strerror(errno));
    enum entro_error error = read_header(saved, &found, &table_bytes, message);
    if (error == ENTRO_OK)
        error = compare_shapes(path, &found, shape, message);
    if (error == ENTRO_OK)
        error = check_windows(saved, table_bytes, window_hashes, shape->n_windows, message);
    saved->row_bytes = entro_saved_row_bytes(shape->n_vocabulary);
    saved->offset = HEADER_BYTES + CHECKSUM_BYTES;
    if (error == ENTRO_OK)
        saved->offset += table_bytes;
    return error;
}

enum entro_error entro_saved_read(struct entro_saved_logits *saved, size_t n, uint8_t *rows,
                                  struct entro_message *message)
{
    enum entro_error error = read_at(saved, rows, n * saved->row_bytes, saved->offset, message);
    saved->offset += n * saved->row_bytes;
    return error;
}

void entro_saved_close(struct entro_saved_logits *saved)
{
    if (saved->fd >= 0)
        close(saved->fd);
    saved->fd = -1;
}
