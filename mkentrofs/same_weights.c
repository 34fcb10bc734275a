/* Compares byte by byte; see same_weights.h. */
#include "mkentrofs/same_weights.h"

#include <stdlib.h>
#include <string.h>

#include "mkentrofs/input.h"

#define BYTES_AT_ONCE ((size_t)1 << 18)

static bool are_alike(const struct entro_source_tensor *a, const struct entro_source_tensor *b)
{
    return a->dtype == b->dtype && a->rank == b->rank && a->size_bytes == b->size_bytes &&
           memcmp(a->shape, b->shape, a->rank * sizeof *a->shape) == 0;
}

static enum entro_error compare(bool *same, const struct entro_input *a_input, uint64_t a_offset,
                                const struct entro_input *b_input, uint64_t b_offset, uint64_t size_bytes,
                                struct entro_message *message)
{
    uint8_t *bytes = malloc(2 * BYTES_AT_ONCE);
    if (!bytes)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "out of memory");
    enum entro_error error = ENTRO_OK;
    *same = true;
    for (uint64_t done = 0; done < size_bytes && *same && !error;) {
        size_t n = size_bytes - done < BYTES_AT_ONCE ? (size_t)(size_bytes - done) : BYTES_AT_ONCE;
        error = entro_input_read(a_input, a_offset + done, n, bytes, message);
        if (!error)
            error = entro_input_read(b_input, b_offset + done, n, bytes + BYTES_AT_ONCE, message);
        if (!error)
            *same = memcmp(bytes, bytes + BYTES_AT_ONCE, n) == 0;
        done += n;
    }
    free(bytes);
    return error;
}

enum entro_error entro_same_weights(bool *same, const struct entro_placed_tensor *a,
                                    const struct entro_placed_tensor *b, const struct entro_monitor *monitor,
                                    struct entro_message *message)
{
    *same = false;
    if (!are_alike(a->tensor, b->tensor))
        return ENTRO_OK;
    struct entro_input a_input, b_input;
    enum entro_error error =
        entro_input_open(&a_input, a->part->source_path, &a->part->identity, monitor, message);
    if (error)
        return error;
    error = entro_input_open(&b_input, b->part->source_path, &b->part->identity, monitor, message);
    if (error)
        goto close_a;
    error = compare(same, &a_input, a->tensor->offset, &b_input, b->tensor->offset, a->tensor->size_bytes,
                    message);
    entro_progress_settle(monitor->progress, 0); /* what was read is not part of the work that was planned */
    entro_input_close(&b_input);

close_a:
    entro_input_close(&a_input);
    return error;
}
