/*
 * Writes the files of a mount to a folder, without FUSE. A file is there whole and verified, or not at all.
 */
#ifndef ENTRO_FS_EXTRACT_H
#define ENTRO_FS_EXTRACT_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/error.h"
#include "codec/pool.h"
#include "fs/progress.h"
#include "fs/reader.h"

struct entro_extraction {
    struct entro_reader *reader;
    const struct entro_namespace *names;
    struct entro_pool *pool;
    const char *folder; /* made where it is missing */
    bool replace;       /* existing files are replaced; else nothing is written where one exists */
    const bool *
        bad_streams; /* by stream (see verify.h): files with bytes of these are left out. NULL: none is bad */
    struct entro_report report;
    struct entro_progress progress;
    /* Results. */
    uint64_t n_files;   /* written */
    uint64_t n_damaged; /* left out: each is a line to `report` */
    uint64_t written_bytes;
};

/*
 * Each file is written under a temporary name in its folder and renamed when it is whole. No symbolic link is
 * followed below the folder. Damaged files are no error. ENTRO_ERROR_EXISTS, _IO, _NO_MEMORY, _CANCELLED; the
 * file being written then leaves nothing behind.
 */
enum entro_error entro_extract(struct entro_extraction *extraction, struct entro_message *message);

#endif
