/* The codes of a real model's tensors, as a mount or entrofsck --extract gives them; see bench_sets.h. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/bench/bench_sets.h"

/* Appends the file as a stream; an empty one is left out, as is one that does not fit max_bytes. */
static enum entro_error append_file(struct bench_set *set, int folder, const char *path, size_t max_bytes,
                                    struct entro_message *message)
{
    enum entro_error error = ENTRO_OK;
    struct stat status;
    int descriptor = openat(folder, path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0 || fstat(descriptor, &status) != 0) {
        error = entro_fail(message, ENTRO_ERROR_IO, "%s: %s", path, strerror(errno));
        goto out;
    }
    if (status.st_size <= 0 || (uint64_t)status.st_size > max_bytes - set->size_bytes)
        goto out;
    size_t size_bytes = (size_t)status.st_size;
    uint8_t *bytes = realloc(set->bytes, set->size_bytes + size_bytes);
    if (bytes == NULL) {
        error = entro_fail(message, ENTRO_ERROR_NO_MEMORY, "out of memory for %s", path);
        goto out;
    }
    set->bytes = bytes;
    for (size_t done = 0; done < size_bytes;) {
        ssize_t n = read(descriptor, bytes + set->size_bytes + done, size_bytes - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            error =
                entro_fail(message, ENTRO_ERROR_IO, "%s: %s", path, n < 0 ? strerror(errno) : "too short");
            goto out;
        }
        done += (size_t)n;
    }
    set->streams[set->n_streams++] =
        (struct bench_stream){.offset = set->size_bytes, .size_bytes = size_bytes};
    set->size_bytes += size_bytes;
out:
    if (descriptor >= 0)
        close(descriptor);
    return error;
}

static void set_name(struct bench_set *set, const char *folder, unsigned bits)
{
    size_t size = strlen(folder);
    while (size > 1 && folder[size - 1] == '/')
        size--;
    size_t start = size;
    while (start > 0 && folder[start - 1] != '/')
        start--;
    snprintf(set->name, sizeof set->name, "%.*s_u%u", (int)(size - start > 48 ? 48 : size - start),
             folder + start, bits);
}

enum entro_error bench_set_load(struct bench_set *out, const char *folder, unsigned bits, size_t max_bytes,
                                struct entro_message *message)
{
    *out = (struct bench_set){0};
    enum entro_error error = ENTRO_OK;
    json_t *manifest = NULL;
    char path[4096];
    int descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0) {
        error = entro_fail(message, ENTRO_ERROR_IO, "%s: %s", folder, strerror(errno));
        goto out;
    }
    json_error_t json_error;
    snprintf(path, sizeof path, "%s/tensors.json", folder);
    manifest = json_load_file(path, 0, &json_error);
    json_t *tensors = json_object_get(manifest, "tensors"), *tensor;
    if (!json_is_array(tensors)) {
        error = entro_fail(message, ENTRO_ERROR_FORMAT, "%s: %s", path,
                           manifest == NULL ? json_error.text : "no array \"tensors\"");
        goto out;
    }
    out->streams = calloc(json_array_size(tensors) + 1, sizeof *out->streams);
    if (out->streams == NULL) {
        error = entro_fail(message, ENTRO_ERROR_NO_MEMORY, "out of memory for %s", path);
        goto out;
    }
    set_name(out, folder, bits);
    size_t i;
    json_array_foreach(tensors, i, tensor)
    {
        const char *file = json_string_value(json_object_get(tensor, "file"));
        if (file == NULL || json_integer_value(json_object_get(tensor, "bits")) != (json_int_t)bits)
            continue;
        if ((error = append_file(out, descriptor, file, max_bytes, message)) != ENTRO_OK)
            goto out;
    }
    bench_set_measure(out);
out:
    json_decref(manifest);
    if (descriptor >= 0)
        close(descriptor);
    if (error != ENTRO_OK)
        bench_set_free(out);
    return error;
}
