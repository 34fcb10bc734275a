/* Importance matrices that are made in memory, and places for those that are written. For their tests. */
#ifndef ENTRO_TESTS_IMATRIX_FIXTURE_H
#define ENTRO_TESTS_IMATRIX_FIXTURE_H

#include "codec/models/imatrix.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/gguf_builder.h"

/* Opens the bytes as a file. */
static inline enum entro_error open_bytes(struct entro_imatrix *out, const void *bytes, size_t size,
                                          struct entro_message *message)
{
    char path[64];
    int fd = memfd_create("imatrix", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, size), size);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    message->text[0] = '\0';
    enum entro_error error = entro_imatrix_open(out, path, message);
    close(fd);
    return error;
}

static inline void assert_refused(const struct file *file, const char *part)
{
    struct entro_imatrix imatrix;
    struct entro_message message;
    assert_int_equal(open_bytes(&imatrix, file->bytes, file->size, &message), ENTRO_ERROR_FORMAT);
    assert_int_equal(imatrix.n_entries, 0);
    assert_null(imatrix.entries);
    if (strstr(message.text, part) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", message.text, part);
}

static const struct entro_imatrix_origin origin = {.dataset = "text", .n_chunks = 3, .chunk_size = 16};

/* A path for a file in a folder of its own; both are removed by drop_path. */
static inline char *make_path(void)
{
    char folder[] = "/tmp/entro-imatrix-XXXXXX";
    char *path = malloc(64);
    assert_non_null(path);
    assert_non_null(mkdtemp(folder));
    snprintf(path, 64, "%s/m.gguf", folder);
    return path;
}

static inline void drop_path(char *path)
{
    unlink(path);
    *strrchr(path, '/') = '\0';
    assert_int_equal(rmdir(path), 0); /* nothing else was left there */
    free(path);
}

static inline void put_type(struct file *file, const char *type)
{
    put_key(file, "general.type", ENTRO_GGUF_STRING);
    put_string(file, type);
}

#endif
