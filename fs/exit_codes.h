/*
 * Exit codes of the two programs: an interface that scripts rely on (entrofs(1), entrofsck(1)). Numbers are
 * never given a new meaning.
 */
#ifndef ENTRO_FS_EXIT_CODES_H
#define ENTRO_FS_EXIT_CODES_H

/* entrofs */
enum {
    ENTRO_EXIT_OK = 0,                /* the mount serves; with -f: it was unmounted */
    ENTRO_EXIT_FAILURE = 1,           /* anything else: memory, fork, ... */
    ENTRO_EXIT_USAGE = 2,             /* command line or mount options */
    ENTRO_EXIT_IMAGE_UNREADABLE = 3,  /* the image does not exist or cannot be read */
    ENTRO_EXIT_IMAGE_BAD = 4,         /* not an image, truncated, or damaged */
    ENTRO_EXIT_IMAGE_UNSUPPORTED = 5, /* of a newer version, or with unknown features */
    ENTRO_EXIT_MOUNTPOINT = 6,       /* the mount point does not exist, is no directory, or may not be used */
    ENTRO_EXIT_MOUNTPOINT_BUSY = 7,  /* something is mounted there already */
    ENTRO_EXIT_MOUNTPOINT_STALE = 8, /* a dead mount is in the way */
    ENTRO_EXIT_FUSE = 9,             /* FUSE is not available or refused the mount */
    ENTRO_EXIT_DIED = 10,            /* the daemon ended before it served */
};

/* entrofsck: those of fsck(8) */
enum {
    ENTRO_FSCK_OK = 0,
    ENTRO_FSCK_UNCORRECTED = 4, /* the image is damaged, or a file could not be extracted whole */
    ENTRO_FSCK_OPERATIONAL = 8, /* the image or the target cannot be opened, memory, ... */
    ENTRO_FSCK_USAGE = 16,
    ENTRO_FSCK_CANCELLED = 32, /* by a signal */
};

#endif
