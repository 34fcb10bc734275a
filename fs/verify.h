/*
 * Verifies an image: every block's checksum and decoding, every stream's XXH3-128, every tensor's factors and
 * outliers.
 */
#ifndef ENTRO_FS_VERIFY_H
#define ENTRO_FS_VERIFY_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/error.h"
#include "codec/pool.h"
#include "fs/progress.h"
#include "fs/reader.h"

struct entro_verdict {
    bool *bad_streams; /* by stream; owned: free() */
    uint32_t n_bad_streams;
    uint32_t n_bad_views; /* tensors whose streams are good, but whose factors or outliers are not */
    uint64_t decoded_bytes;
};

/*
 * Damage is no error: it is in the verdict, and each bad block, stream and view is a line to `report`.
 * ENTRO_ERROR_NO_MEMORY, _CANCELLED. The reader's own report gets the blocks' lines. The caller frees
 * verdict->bad_streams in any case.
 */
enum entro_error entro_verify(struct entro_verdict *verdict, struct entro_reader *reader,
                              const struct entro_namespace *names, struct entro_pool *pool,
                              const struct entro_report *report, const struct entro_progress *progress,
                              struct entro_message *message);

#endif
