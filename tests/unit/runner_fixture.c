/* Making and removing model directories; see runner_fixture.h. */
#include "runner_fixture.h"

#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "codec/models/safetensors.h"

char *fixture_create(void)
{
    const char *parent = getenv("TMPDIR");
    char path[4096];
    snprintf(path, sizeof path, "%s/entrorun-test-XXXXXX", parent == NULL ? "/tmp" : parent);
    assert_non_null(mkdtemp(path));
    char *directory = strdup(path);
    assert_non_null(directory);
    strcat(path, "/tensors");
    assert_int_equal(mkdir(path, 0700), 0);
    return directory;
}

void fixture_write(const char *directory, const char *name, const void *bytes, size_t size_bytes)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size_bytes, file), size_bytes);
    assert_int_equal(fclose(file), 0);
}

static void *read_whole(const char *path, size_t *size_bytes)
{
    struct stat status;
    int fd = open(path, O_RDONLY);
    if (fd < 0)
        fail_msg("%s cannot be opened", path);
    assert_int_equal(fstat(fd, &status), 0);
    *size_bytes = (size_t)status.st_size;
    uint8_t *bytes = malloc(*size_bytes + 1);
    assert_non_null(bytes);
    for (size_t done = 0; done < *size_bytes;) {
        ssize_t n = read(fd, bytes + done, *size_bytes - done);
        assert_true(n > 0);
        done += (size_t)n;
    }
    close(fd);
    return bytes;
}

void fixture_copy(const char *directory, const char *name, const char *source)
{
    size_t size_bytes;
    void *bytes = read_whole(source, &size_bytes);
    fixture_write(directory, name, bytes, size_bytes);
    free(bytes);
}

static json_t *describe(const struct entro_model_tensor *tensor)
{
    char file[512];
    json_t *shape = json_array();
    for (unsigned i = 0; i < tensor->rank; i++)
        json_array_append_new(shape, json_integer((json_int_t)tensor->shape[i]));
    snprintf(file, sizeof file, "tensors/%s", tensor->name);
    return json_pack("{s:s, s:s, s:s, s:o, s:s, s:n, s:n, s:n, s:n, s:n, s:n}", "name", tensor->name, "file",
                     file, "dtype", entro_dtype_info(tensor->dtype)->name, "shape", shape, "scheme",
                     "lossless", "bits", "scale", "zero_point", "row_scale", "column_scale", "outliers");
}

void fixture_write_tensors(const char *directory, const char *source)
{
    struct entro_safetensors header;
    struct entro_message message;
    size_t size_bytes;
    uint8_t *bytes = read_whole(source, &size_bytes);
    assert_int_equal(entro_safetensors_parse(&header, bytes, size_bytes, size_bytes, source, &message),
                     ENTRO_OK);
    json_t *tensors = json_array();
    for (size_t i = 0; i < header.n_tensors; i++) {
        const struct entro_model_tensor *tensor = &header.tensors[i];
        json_t *entry = describe(tensor);
        fixture_write(directory, json_string_value(json_object_get(entry, "file")), bytes + tensor->offset,
                      (size_t)tensor->size_bytes);
        json_array_append_new(tensors, entry);
    }
    json_t *root = json_pack("{s:i, s:s, s:o}", "format", 1, "source", "safetensors", "tensors", tensors);
    char *text = json_dumps(root, 0);
    assert_non_null(text);
    fixture_write(directory, "tensors.json", text, strlen(text));
    free(text);
    json_decref(root);
    entro_safetensors_free(&header);
    free(bytes);
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *where)
{
    (void)status;
    (void)type;
    (void)where;
    return remove(path);
}

void fixture_remove(char *directory)
{
    assert_int_equal(nftw(directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS), 0);
    free(directory);
}
