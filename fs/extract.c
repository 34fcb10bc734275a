/* Extraction; see extract.h. Folders are walked by descriptor, so that a link put in the way leads nowhere.
 */
#include "fs/extract.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "codec/rename_new.h"
#include "fs/facts.h"

#define PIECE_BYTES  ((size_t)256 << 10)
#define BATCH_PIECES 32

struct batch {
    struct entro_reader *reader;
    const struct entro_node *node;
    uint64_t offset;
    size_t size;
    uint8_t *bytes;
    enum entro_error errors[BATCH_PIECES];
};

static void read_piece(void *context, size_t item, unsigned worker)
{
    (void)worker;
    struct batch *batch = context;
    size_t begin = item * PIECE_BYTES, n_read;
    size_t n = batch->size - begin < PIECE_BYTES ? batch->size - begin : PIECE_BYTES;
    batch->errors[item] = entro_reader_read(batch->reader, batch->node, batch->offset + begin, n,
                                            batch->bytes + begin, &n_read, NULL);
    if (batch->errors[item] == ENTRO_OK && n_read != n)
        batch->errors[item] = ENTRO_ERROR_IO;
}

static enum entro_error io_error(const struct entro_extraction *extraction, const struct entro_node *node,
                                 struct entro_message *message)
{
    char path[ENTRO_PATH_MAX_BYTES + 1];
    int number = errno;
    entro_namespace_path(extraction->names, node, path, sizeof path);
    return entro_fail(message, number == EEXIST ? ENTRO_ERROR_EXISTS : ENTRO_ERROR_IO, "%s/%.600s: %s",
                      extraction->folder, path, strerror(number));
}

/* Opens the folder of a node below `base`, making what is missing if `make`. -1 with errno set. */
static int open_folder(const struct entro_extraction *extraction, int base, const struct entro_node *folder,
                       bool make)
{
    if (folder->inode == ENTRO_INODE_ROOT)
        return dup(base);
    int above = open_folder(extraction, base, entro_namespace_node(extraction->names, folder->parent), make);
    if (above < 0)
        return -1;
    int result = -1;
    if (!make || mkdirat(above, folder->name, 0777) == 0 || errno == EEXIST)
        result = openat(above, folder->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int number = errno;
    close(above);
    errno = number;
    return result;
}

static bool write_all(int file, const uint8_t *bytes, size_t size)
{
    while (size > 0) {
        ssize_t n = write(file, bytes, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        bytes += n;
        size -= (size_t)n;
    }
    return true;
}

static bool stream_is_bad(const struct entro_extraction *extraction, uint32_t stream)
{
    return stream != ENTRO_NONE && extraction->bad_streams != NULL && extraction->bad_streams[stream];
}

/* A stream may decode and yet not be what was put in: then its checksum tells, and files that need it are
 * damaged. */
static bool has_bad_stream(const struct entro_extraction *extraction, const struct entro_node *node)
{
    const struct entro_image *image = entro_namespace_image(extraction->names);
    for (size_t i = 0; i < node->n_spans; i++) {
        const struct entro_span *span = &node->spans[i];
        if (span->kind == ENTRO_SPAN_STREAM && stream_is_bad(extraction, span->reference))
            return true;
        if (span->kind != ENTRO_SPAN_VIEW)
            continue;
        uint32_t streams[ENTRO_N_PARTS];
        entro_tensor_streams(entro_image_tensor(image, span->reference), streams);
        for (unsigned part = 0; part < ENTRO_N_PARTS; part++)
            if (stream_is_bad(extraction, streams[part]))
                return true;
    }
    return false;
}

struct totals {
    uint64_t done_bytes, total_bytes;
};

/* Decodes and writes the whole file. ENTRO_ERROR_CHECKSUM where the image does not give it. */
static enum entro_error write_content(struct entro_extraction *extraction, struct batch *batch, int file,
                                      struct totals *totals, struct entro_message *message)
{
    const struct entro_node *node = batch->node;
    for (batch->offset = 0; batch->offset < node->size_bytes; batch->offset += batch->size) {
        uint64_t left = node->size_bytes - batch->offset;
        batch->size = left < PIECE_BYTES * BATCH_PIECES ? (size_t)left : PIECE_BYTES * BATCH_PIECES;
        size_t n_pieces = (batch->size + PIECE_BYTES - 1) / PIECE_BYTES;
        entro_parallel_for(extraction->pool, n_pieces, read_piece, batch);
        for (size_t i = 0; i < n_pieces; i++)
            if (batch->errors[i] != ENTRO_OK)
                return batch->errors[i] == ENTRO_ERROR_NO_MEMORY
                           ? entro_fail(message, ENTRO_ERROR_NO_MEMORY, "out of memory")
                           : ENTRO_ERROR_CHECKSUM;
        if (!write_all(file, batch->bytes, batch->size))
            return io_error(extraction, node, message);
        totals->done_bytes += batch->size;
        if (!entro_progress_step(&extraction->progress, totals->done_bytes, totals->total_bytes))
            return entro_fail(message, ENTRO_ERROR_CANCELLED, "extraction: cancelled");
    }
    return ENTRO_OK;
}

static void report_damaged(struct entro_extraction *extraction, const struct entro_node *node)
{
    char path[ENTRO_PATH_MAX_BYTES + 1];
    struct entro_message line;
    entro_namespace_path(extraction->names, node, path, sizeof path);
    entro_fail(&line, ENTRO_ERROR_CHECKSUM, "%.900s: damaged in the image, not extracted", path);
    extraction->n_damaged++;
    if (extraction->report.line != NULL)
        extraction->report.line(extraction->report.context, line.text);
}

/* `folder` is the open folder of the file. */
static enum entro_error write_file(struct entro_extraction *extraction, struct batch *batch, int folder,
                                   struct totals *totals, struct entro_message *message)
{
    const struct entro_node *node = batch->node;
    char temporary[64];
    snprintf(temporary, sizeof temporary, ".entrofs-%ld-%" PRIu64 ".tmp", (long)getpid(), node->inode);
    int file = openat(folder, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (file < 0)
        return io_error(extraction, node, message);
    enum entro_error error = write_content(extraction, batch, file, totals, message);
    if (close(file) != 0 && error == ENTRO_OK)
        error = io_error(extraction, node, message);
    if (error == ENTRO_OK && (extraction->replace ? renameat(folder, temporary, folder, node->name)
                                                  : entro_rename_new(folder, temporary, node->name)) != 0)
        error = io_error(extraction, node, message);
    if (error == ENTRO_OK) {
        extraction->n_files++;
        extraction->written_bytes += node->size_bytes;
        return ENTRO_OK;
    }
    unlinkat(folder, temporary, 0);
    if (error != ENTRO_ERROR_CHECKSUM)
        return error;
    report_damaged(extraction, node);
    return ENTRO_OK;
}

/* Refuses before anything is written where a file exists already. */
static enum entro_error check_existing(struct entro_extraction *extraction, int base,
                                       struct entro_message *message)
{
    struct stat facts;
    for (uint64_t inode = 1; inode <= entro_namespace_last_inode(extraction->names); inode++) {
        const struct entro_node *node = entro_namespace_node(extraction->names, inode);
        if (node == NULL || node->is_folder)
            continue;
        int folder =
            open_folder(extraction, base, entro_namespace_node(extraction->names, node->parent), false);
        if (folder < 0) {
            if (errno == ENOENT)
                continue;
            return io_error(extraction, node, message);
        }
        bool exists = fstatat(folder, node->name, &facts, AT_SYMLINK_NOFOLLOW) == 0;
        close(folder);
        if (exists) {
            errno = EEXIST;
            return io_error(extraction, node, message);
        }
    }
    return ENTRO_OK;
}

static enum entro_error write_node(struct entro_extraction *extraction, struct batch *batch, int base,
                                   struct totals *totals, struct entro_message *message)
{
    const struct entro_node *node = batch->node;
    uint64_t parent = node->is_folder ? node->inode : node->parent;
    int folder = open_folder(extraction, base, entro_namespace_node(extraction->names, parent), true);
    if (folder < 0)
        return io_error(extraction, node, message);
    enum entro_error error = ENTRO_OK;
    if (!node->is_folder) {
        if (has_bad_stream(extraction, node))
            report_damaged(extraction, node);
        else
            error = write_file(extraction, batch, folder, totals, message);
    }
    close(folder);
    return error;
}

enum entro_error entro_extract(struct entro_extraction *extraction, struct entro_message *message)
{
    const struct entro_namespace *names = extraction->names;
    struct batch batch = {.reader = extraction->reader};
    struct totals totals = {0};
    extraction->n_files = extraction->n_damaged = extraction->written_bytes = 0;
    if (mkdir(extraction->folder, 0777) != 0 && errno != EEXIST)
        return entro_fail(message, ENTRO_ERROR_IO, "%s: %s", extraction->folder, strerror(errno));
    int base = open(extraction->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (base < 0)
        return entro_fail(message, ENTRO_ERROR_IO, "%s: %s", extraction->folder, strerror(errno));
    enum entro_error error = ENTRO_OK;
    batch.bytes = malloc(PIECE_BYTES * BATCH_PIECES);
    if (batch.bytes == NULL)
        error = entro_fail(message, ENTRO_ERROR_NO_MEMORY, "out of memory");
    if (error == ENTRO_OK && !extraction->replace)
        error = check_existing(extraction, base, message);
    for (uint64_t inode = 1; inode <= entro_namespace_last_inode(names); inode++) {
        const struct entro_node *node = entro_namespace_node(names, inode);
        totals.total_bytes += node == NULL ? 0 : node->size_bytes;
    }
    for (uint64_t inode = 1; error == ENTRO_OK && inode <= entro_namespace_last_inode(names); inode++) {
        batch.node = entro_namespace_node(names, inode);
        if (batch.node != NULL)
            error = write_node(extraction, &batch, base, &totals, message);
    }
    if (error == ENTRO_OK && syncfs(base) != 0)
        error = entro_fail(message, ENTRO_ERROR_IO, "%s: %s", extraction->folder, strerror(errno));
    free(batch.bytes);
    close(base);
    return error;
}
