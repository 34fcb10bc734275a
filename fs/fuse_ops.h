/*
 * The file system's answers to the kernel, by libfuse's low-level interface. Needs libfuse; what is answered
 * comes from namespace.h and reader.h.
 */
#ifndef ENTRO_FS_FUSE_OPS_H
#define ENTRO_FS_FUSE_OPS_H

#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>

#include <stdatomic.h>
#include <sys/types.h>

#include "fs/attributes.h"
#include "fs/namespace.h"
#include "fs/reader.h"

/*
 * The kernel's requests are cut to this. Its read-ahead then is several requests at once, which as many
 * threads decode in buffers that fit their processor's cache; larger ones measure worse. Goes to the mount as
 * max_read= and to the session in its INIT: both must agree.
 */
#define ENTRO_MAX_READ 131072

/* The session's user data. Constant while the session runs, but what it points to. */
struct entro_mount {
    const struct entro_namespace *names;
    struct entro_reader *reader;
    struct entro_attributes attributes;
    uid_t owner;
    gid_t group;
    void (*on_init)(void *context); /* called once, when the kernel and libfuse have agreed on how to talk */
    void *context;
};

extern const struct fuse_lowlevel_ops entro_fuse_ops;

#endif
