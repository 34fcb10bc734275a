/* Importance matrices: both forms of file, what is refused, and what is written. */
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
static enum entro_error open_bytes(struct entro_imatrix *out, const void *bytes, size_t size,
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

static void assert_refused(const struct file *file, const char *part)
{
    struct entro_imatrix imatrix;
    struct entro_message message;
    assert_int_equal(open_bytes(&imatrix, file->bytes, file->size, &message), ENTRO_ERROR_FORMAT);
    assert_int_equal(imatrix.n_entries, 0);
    assert_null(imatrix.entries);
    if (strstr(message.text, part) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", message.text, part);
}

/* Two entries: one of two experts of three columns, one of two columns. */
static void make_gguf(struct file *file, const float sums[6], const float counts[2])
{
    start_file(file, 4, 4);
    put_key(file, "general.type", ENTRO_GGUF_STRING);
    put_string(file, "imatrix");
    put_array(file, "imatrix.datasets", ENTRO_GGUF_STRING, 2);
    put_string(file, "a.txt");
    put_string(file, "b.txt");
    put_key(file, "imatrix.chunk_count", ENTRO_GGUF_U32);
    put_u32(file, 7);
    put_key(file, "imatrix.chunk_size", ENTRO_GGUF_U32);
    put_u32(file, 512);
    put_tensor(file, "blk.3.attn_q.weight.in_sum2", 1, (const uint64_t[]){2}, 0, 0);
    put_tensor(file, "blk.3.attn_q.weight.counts", 1, (const uint64_t[]){1}, 0, 32);
    put_tensor(file, "blk.0.ffn_up_exps.weight.in_sum2", 2, (const uint64_t[]){3, 2}, 0, 64);
    put_tensor(file, "blk.0.ffn_up_exps.weight.counts", 2, (const uint64_t[]){1, 2}, 0, 96);
    pad(file, 32);
    put(file, (const float[]){8, 2}, 8);
    pad(file, 32);
    put(file, &(float){4}, 4);
    pad(file, 32);
    put(file, sums, 24);
    pad(file, 32);
    put(file, counts, 8);
    pad(file, 32);
}

static const float good_sums[6] = {1, 2, 3, 10, 20, 30}, good_counts[2] = {2, 10};

static void a_gguf_matrix_is_read_as_means(void **state)
{
    struct file file;
    struct entro_imatrix imatrix;
    struct entro_message message;
    (void)state;
    make_gguf(&file, good_sums, good_counts);
    assert_int_equal(open_bytes(&imatrix, file.bytes, file.size, &message), ENTRO_OK);
    assert_int_equal(imatrix.n_entries, 2);
    assert_int_equal(imatrix.n_chunks, 7);
    assert_int_equal(imatrix.chunk_size, 512);
    assert_string_equal(imatrix.dataset, "a.txt");
    const struct entro_imatrix_entry *experts = entro_imatrix_find(&imatrix, "blk.0.ffn_up_exps.weight");
    assert_non_null(experts);
    assert_int_equal(experts->n_matrices, 2);
    assert_int_equal(experts->n_columns, 3);
    assert_memory_equal(experts->mean_squares, ((const float[]){0.5F, 1, 1.5F, 1, 2, 3}), 24);
    assert_memory_equal(experts->counts, good_counts, 8);
    entro_imatrix_free(&imatrix);
}

static void a_tensor_is_found_by_its_name_of_either_convention(void **state)
{
    struct file file;
    struct entro_imatrix imatrix;
    struct entro_message message;
    (void)state;
    make_gguf(&file, good_sums, good_counts);
    assert_int_equal(open_bytes(&imatrix, file.bytes, file.size, &message), ENTRO_OK);
    const struct entro_imatrix_entry *entry =
        entro_imatrix_find(&imatrix, "model.layers.3.self_attn.q_proj.weight");
    assert_non_null(entry);
    assert_ptr_equal(entry, entro_imatrix_find(&imatrix, "blk.3.attn_q.weight"));
    assert_memory_equal(entry->mean_squares, ((const float[]){2, 0.5F}), 8);
    assert_null(entro_imatrix_find(&imatrix, "model.layers.4.self_attn.q_proj.weight"));
    assert_null(entro_imatrix_find(&imatrix, "blk.3.attn_k.weight"));
    assert_null(entro_imatrix_find(&imatrix, "nonsense"));
    entro_imatrix_free(&imatrix);
}

static void an_expert_that_saw_no_token_counts_as_one_everywhere(void **state)
{
    struct file file;
    struct entro_imatrix imatrix;
    struct entro_message message;
    (void)state;
    make_gguf(&file, (const float[]){0, 0, 0, 10, 20, 30}, (const float[]){0, 10});
    assert_int_equal(open_bytes(&imatrix, file.bytes, file.size, &message), ENTRO_OK);
    const struct entro_imatrix_entry *experts = entro_imatrix_find(&imatrix, "blk.0.ffn_up_exps.weight");
    assert_memory_equal(experts->mean_squares, ((const float[]){1, 1, 1, 1, 2, 3}), 24);
    entro_imatrix_free(&imatrix);
}

static void importances_that_are_no_numbers_are_refused_by_the_tensors_name(void **state)
{
    struct file file;
    (void)state;
    const float bad[] = {-1, NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        make_gguf(&file, (const float[]){1, 2, 3, 10, bad[i], 30}, good_counts);
        assert_refused(&file, "\"blk.0.ffn_up_exps.weight\": the importance of column 1");
        make_gguf(&file, good_sums, (const float[]){2, bad[i]});
        assert_refused(&file, "\"blk.0.ffn_up_exps.weight\": its count");
    }
}

static void truncated_gguf_matrices_are_refused(void **state)
{
    struct file file;
    (void)state;
    make_gguf(&file, good_sums, good_counts);
    /* Padding behind the last tensor may be missing. */
    for (size_t size = 0; size < file.size - 24; size++) {
        struct file cut = file;
        cut.size = size;
        assert_refused(&cut, "");
    }
}

static void put_type(struct file *file, const char *type)
{
    put_key(file, "general.type", ENTRO_GGUF_STRING);
    put_string(file, type);
}

static void other_gguf_files_are_refused(void **state)
{
    struct file file;
    (void)state;
    make_sample(&file);
    assert_refused(&file, "no importance matrix");
    start_file(&file, 0, 1);
    put_type(&file, "imatrix");
    assert_refused(&file, "without entries");
    start_file(&file, 1, 1);
    put_type(&file, "imatrix");
    put_vector(&file, "x.in_sum2", 8, 0);
    pad(&file, 32);
    put_data(&file, 32);
    assert_refused(&file, "\"x\" has importances but no counts");
    start_file(&file, 2, 1);
    put_type(&file, "imatrix");
    put_vector(&file, "x.in_sum2", 8, 0);
    put_vector(&file, "x.counts", 3, 32);
    pad(&file, 32);
    put_data(&file, 64);
    assert_refused(&file, "8 importances do not go with 3 counts");
    start_file(&file, 2, 1);
    put_type(&file, "imatrix");
    put_tensor(&file, "x.in_sum2", 1, (const uint64_t[]){8}, 1, 0);
    put_vector(&file, "x.counts", 1, 32);
    pad(&file, 32);
    put_data(&file, 64);
    assert_refused(&file, "\"x\": its importances are no F32");
}

#define BF16 30

/* An entry "x" of n_matrices times four columns, and directions as they are described. */
static void put_entry_with_directions(struct file *file, const char *name, uint64_t n_matrices, uint32_t rank,
                                      const uint64_t *dimensions, uint32_t type, size_t data_bytes)
{
    start_file(file, 3, 1);
    put_type(file, "imatrix");
    put_tensor(file, "x.in_sum2", 2, (const uint64_t[]){4, n_matrices}, 0, 0);
    put_vector(file, "x.counts", n_matrices, 32);
    put_tensor(file, name, rank, dimensions, type, 64);
    pad(file, 32);
    put(file, (const float[]){2, 4, 6, 8, 2, 4, 6, 8}, 16 * n_matrices);
    pad(file, 32);
    put(file, (const float[]){2, 2}, 4 * n_matrices);
    pad(file, 32);
    for (size_t i = 0; i < data_bytes; i += 2)
        put(file, (const uint8_t[]){0x80, (uint8_t)(i % 8 == 0 ? 0x3f : 0xbf)}, 2); /* 1 or -1 */
    pad(file, 32);
}

/* Room for the directions of one entry. */
static void read_directions(const struct entro_imatrix_entry *entry, float *directions, size_t room)
{
    struct entro_message message;
    assert_true(entry->n_directions > 0 && entry->n_directions * entry->n_columns <= room);
    assert_int_equal(entro_imatrix_read_directions(entry, directions, &message), ENTRO_OK);
}

static void directions_are_read(void **state)
{
    struct file file;
    struct entro_imatrix imatrix;
    struct entro_message message;
    (void)state;
    for (uint32_t rank = 1; rank <= 2; rank++) {
        size_t n_directions = rank == 2 ? 3 : 1;
        put_entry_with_directions(&file, "x.in_directions", 1, rank, (const uint64_t[]){4, 3}, BF16,
                                  8 * n_directions);
        assert_int_equal(open_bytes(&imatrix, file.bytes, file.size, &message), ENTRO_OK);
        const struct entro_imatrix_entry *entry = entro_imatrix_find(&imatrix, "x");
        assert_int_equal(entry->n_columns, 4);
        assert_memory_equal(entry->mean_squares, ((const float[]){1, 2, 3, 4}), 16);
        assert_int_equal(entry->n_directions, n_directions);
        float directions[12];
        read_directions(entry, directions, 12);
        for (size_t i = 0; i < 4 * n_directions; i++)
            assert_true(directions[i] == (i % 4 == 0 ? 1 : -1));
        entro_imatrix_free(&imatrix);
    }
    make_gguf(&file, good_sums, good_counts);
    assert_int_equal(open_bytes(&imatrix, file.bytes, file.size, &message), ENTRO_OK);
    for (size_t i = 0; i < imatrix.n_entries; i++)
        assert_true(imatrix.entries[i].n_directions == 0);
    entro_imatrix_free(&imatrix);
}

static void a_file_that_changes_under_its_reader_is_an_error(void **state)
{
    struct file file;
    struct entro_imatrix imatrix;
    struct entro_message message;
    float directions[8];
    char path[64];
    (void)state;
    put_entry_with_directions(&file, "x.in_directions", 1, 2, (const uint64_t[]){4, 2}, BF16, 16);
    int fd = memfd_create("imatrix", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, file.bytes, file.size), file.size);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    assert_int_equal(entro_imatrix_open(&imatrix, path, &message), ENTRO_OK);
    const struct entro_imatrix_entry *entry = entro_imatrix_find(&imatrix, "x");
    assert_int_equal(pwrite(fd, "\xc0\x7f", 2, (off_t)entry->directions_offset), 2); /* NaN */
    assert_int_equal(entro_imatrix_read_directions(entry, directions, &message), ENTRO_ERROR_FORMAT);
    assert_int_equal(ftruncate(fd, (off_t)entry->directions_offset), 0);
    assert_int_equal(entro_imatrix_read_directions(entry, directions, &message), ENTRO_ERROR_IO);
    entro_imatrix_free(&imatrix);
    close(fd);
}

/* Sums and counts of so many tensors, each of one column. */
static enum entro_error open_entries(uint32_t n_entries, struct entro_message *message)
{
    static const char *const suffixes[] = {".in_sum2", ".counts"};
    char *bytes;
    size_t size, n_tensors = 2 * (size_t)n_entries;
    FILE *stream = open_memstream(&bytes, &size);
    assert_non_null(stream);
    struct file *file = calloc(1, sizeof *file);
    assert_non_null(file);
    start_file(file, n_tensors, 1);
    put_key(file, "general.type", ENTRO_GGUF_STRING);
    put_string(file, "imatrix");
    for (size_t i = 0; i < n_tensors; i++) {
        char name[32];
        fwrite(file->bytes, file->size, 1, stream);
        file->size = 0;
        snprintf(name, sizeof name, "%zx%s", i / 2, suffixes[i % 2]);
        put_tensor(file, name, 1, (const uint64_t[]){1}, 0, 32 * i);
    }
    fwrite(file->bytes, file->size, 1, stream);
    while (ftell(stream) % 32 != 0)
        fputc(0, stream);
    for (size_t i = 0; i < n_tensors; i++)
        fwrite((const float[8]){1}, 32, 1, stream);
    free(file);
    assert_int_equal(fclose(stream), 0);
    struct entro_imatrix imatrix;
    enum entro_error error = open_bytes(&imatrix, bytes, size, message);
    entro_imatrix_free(&imatrix);
    free(bytes);
    return error;
}

static void more_entries_than_any_model_has_are_refused(void **state)
{
    struct entro_message message;
    (void)state;
    assert_int_equal(open_entries(ENTRO_IMATRIX_MAX_ENTRIES, &message), ENTRO_OK);
    assert_int_equal(open_entries(ENTRO_IMATRIX_MAX_ENTRIES + 1, &message), ENTRO_ERROR_UNSUPPORTED);
    assert_non_null(strstr(message.text, "more than 65536 entries"));
}

static void directions_that_do_not_fit_are_refused(void **state)
{
    static const struct {
        const char *name;
        uint64_t n_matrices;
        uint32_t rank;
        uint64_t dimensions[3];
        uint32_t type;
        size_t data_bytes;
        const char *part;
    } cases[] = {
        {"x.in_directions", 1, 2, {3, 4}, BF16, 24, "\"x\": its directions are not"},
        {"x.in_directions", 1, 1, {5}, BF16, 10, "\"x\": its directions are not"},
        {"x.in_directions", 1, 3, {4, 1, 1}, BF16, 8, "\"x\": its directions are not"},
        {"x.in_directions", 1, 2, {4, 2}, 0, 32, "\"x\": its directions are not"},    /* F32 */
        {"x.in_directions", 1, 2, {4, 2}, 1, 16, "\"x\": its directions are not"},    /* F16 */
        {"x.in_directions", 2, 2, {4, 2}, BF16, 16, "\"x\": its directions are not"}, /* experts */
        {"x.in_directions", 1, 2, {4, 257}, BF16, 2056, "\"x\": its directions are not 1 to 256"},
        {"x.in_directions", 1, 2, {4, 0}, BF16, 0, ""},
        {"x.in_directions", 1, 2, {4, 2}, BF16, 0, ""}, /* truncated */
        {"y.in_directions", 1, 2, {4, 2}, BF16, 16, "\"y\" has directions but no importances"},
    };
    struct file file;
    struct entro_imatrix imatrix;
    struct entro_message message;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        put_entry_with_directions(&file, cases[i].name, cases[i].n_matrices, cases[i].rank,
                                  cases[i].dimensions, cases[i].type, cases[i].data_bytes);
        assert_refused(&file, cases[i].part);
    }
    /* The most there may be. */
    put_entry_with_directions(&file, "x.in_directions", 1, 2, (const uint64_t[]){4, 256}, BF16, 2048);
    assert_int_equal(open_bytes(&imatrix, file.bytes, file.size, &message), ENTRO_OK);
    entro_imatrix_free(&imatrix);
    /* No numbers: the sixth value. */
    static const uint16_t bad[] = {0x7f80, 0xff80, 0x7fc0};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        put_entry_with_directions(&file, "x.in_directions", 1, 2, (const uint64_t[]){4, 4}, BF16, 32);
        memcpy(file.bytes + file.size - 32 + 10, &bad[i], 2);
        assert_refused(&file, "\"x\": column 1 of its direction 1 is no number");
    }
    /* A name that leaves room for no other suffix. */
    char name[ENTRO_GGUF_NAME_MAX_BYTES + 1] = {0};
    memset(name, 'n', ENTRO_GGUF_NAME_MAX_BYTES);
    memcpy(name + ENTRO_GGUF_NAME_MAX_BYTES - 8, ".in_sum2", 8);
    start_file(&file, 1, 1);
    put_type(&file, "imatrix");
    put_vector(&file, name, 8, 0);
    pad(&file, 32);
    put_data(&file, 32);
    assert_refused(&file, "has importances but no counts");
}

static void put_dat_entry(struct file *file, const char *name, uint32_t n_calls, uint32_t n,
                          const float *values)
{
    put_u32(file, (uint32_t)strlen(name));
    put(file, name, strlen(name));
    put_u32(file, n_calls);
    put_u32(file, n);
    put(file, values, n * sizeof *values);
}

static void make_dat(struct file *file, const float *values)
{
    file->size = 0;
    put_u32(file, 2);
    put_dat_entry(file, "blk.3.attn_q.weight", 4, 2, values);
    put_dat_entry(file, "blk.0.ffn_down.weight", 0, 1, (const float[]){5});
}

static const float good_values[2] = {8, 2};

static void the_older_form_is_read_as_means(void **state)
{
    struct file file;
    struct entro_imatrix imatrix;
    struct entro_message message;
    (void)state;
    make_dat(&file, good_values);
    for (int with_end = 0; with_end < 2; with_end++) {
        if (with_end) {
            put_u32(&file, 9);
            put_u32(&file, 5);
            put(&file, "a.txt", 5);
        }
        assert_int_equal(open_bytes(&imatrix, file.bytes, file.size, &message), ENTRO_OK);
        assert_int_equal(imatrix.n_entries, 2);
        assert_int_equal(imatrix.n_chunks, with_end ? 9 : 0);
        assert_string_equal(imatrix.dataset, with_end ? "a.txt" : "");
        const struct entro_imatrix_entry *entry =
            entro_imatrix_find(&imatrix, "model.layers.3.self_attn.q_proj.weight");
        assert_non_null(entry);
        assert_int_equal(entry->n_matrices, 1);
        assert_int_equal(entry->n_columns, 2);
        assert_memory_equal(entry->mean_squares, ((const float[]){2, 0.5F}), 8);
        /* Calls of 0 divide by nothing. */
        assert_true(entro_imatrix_find(&imatrix, "blk.0.ffn_down.weight")->mean_squares[0] == 5);
        entro_imatrix_free(&imatrix);
    }
}

static void damaged_files_of_the_older_form_are_refused(void **state)
{
    struct file file;
    (void)state;
    make_dat(&file, good_values);
    for (size_t size = 0; size < file.size; size++) {
        struct file cut = file;
        cut.size = size;
        assert_refused(&cut, "");
    }
    make_dat(&file, (const float[]){1, -1});
    assert_refused(&file, "\"blk.3.attn_q.weight\": the importance of column 1 is -0.25");
    make_dat(&file, (const float[]){NAN, 1});
    assert_refused(&file, "\"blk.3.attn_q.weight\"");
    file.size = 0;
    put_u32(&file, INT32_MAX);
    put_data(&file, 64);
    assert_refused(&file, "have no room");
    file.size = 0;
    put_u32(&file, (uint32_t)-1);
    put_data(&file, 64);
    assert_refused(&file, "-1 is no number of entries");
    file.size = 0;
    put_u32(&file, 1);
    put_u32(&file, INT32_MAX);
    put_data(&file, 64);
    assert_refused(&file, "a name of");
    file.size = 0;
    put_u32(&file, 1);
    put_u32(&file, 1);
    put(&file, "x", 1);
    put_u32(&file, 1);
    put_u32(&file, INT32_MAX);
    put_data(&file, 64);
    assert_refused(&file, "truncated in tensor \"x\"");
    file.size = 0;
    put_u32(&file, 2);
    put_dat_entry(&file, "x", 1, 1, good_values);
    put_dat_entry(&file, "x", 1, 1, good_values);
    assert_refused(&file, "two entries for tensor \"x\"");
}

static void a_missing_file_is_not_found(void **state)
{
    struct entro_imatrix imatrix;
    struct entro_message message;
    (void)state;
    assert_int_equal(entro_imatrix_open(&imatrix, "/nonexistent/imatrix", &message), ENTRO_ERROR_NOT_FOUND);
    assert_int_equal(entro_imatrix_open(&imatrix, "/", &message), ENTRO_ERROR_FORMAT);
}

static const struct entro_imatrix_origin origin = {.dataset = "text", .n_chunks = 3, .chunk_size = 16};

/* A path for a file in a folder of its own; both are removed by drop_path. */
static char *make_path(void)
{
    char folder[] = "/tmp/entro-imatrix-XXXXXX";
    char *path = malloc(64);
    assert_non_null(path);
    assert_non_null(mkdtemp(folder));
    snprintf(path, 64, "%s/m.gguf", folder);
    return path;
}

static void drop_path(char *path)
{
    unlink(path);
    *strrchr(path, '/') = '\0';
    assert_int_equal(rmdir(path), 0); /* nothing else was left there */
    free(path);
}

static void what_is_written_is_read_again(void **state)
{
    char *path = make_path();
    struct entro_imatrix imatrix;
    struct entro_message message;
    const double q[5] = {0, 48, 96, 1e30, 24}, down[1] = {12};
    const struct entro_imatrix_sums entries[2] = {
        {.name = "blk.0.attn_q.weight", .n_columns = 5, .sums = q, .n_tokens = 48},
        {.name = "blk.0.ffn_down.weight", .n_columns = 1, .sums = down, .n_tokens = 48},
    };
    (void)state;
    assert_int_equal(entro_imatrix_write(path, false, entries, 2, &origin, &message), ENTRO_OK);
    assert_int_equal(entro_imatrix_open(&imatrix, path, &message), ENTRO_OK);
    assert_int_equal(imatrix.n_entries, 2);
    assert_int_equal(imatrix.n_chunks, 3);
    assert_int_equal(imatrix.chunk_size, 16);
    assert_string_equal(imatrix.dataset, "text");
    const struct entro_imatrix_entry *entry = entro_imatrix_find(&imatrix, "blk.0.attn_q.weight");
    assert_int_equal(entry->n_columns, 5);
    for (size_t i = 0; i < 5; i++)
        assert_true(entry->mean_squares[i] == (float)q[i] / 48.0F);
    assert_true(entry->counts[0] == 48);
    entro_imatrix_free(&imatrix);
    assert_int_equal(entro_imatrix_write(path, false, entries, 2, &origin, &message), ENTRO_ERROR_EXISTS);
    assert_int_equal(entro_imatrix_write(path, true, entries, 1, &origin, &message), ENTRO_OK);
    assert_int_equal(entro_imatrix_open(&imatrix, path, &message), ENTRO_OK);
    assert_int_equal(imatrix.n_entries, 1);
    entro_imatrix_free(&imatrix);
    drop_path(path);
}

static void what_no_file_can_hold_is_not_written(void **state)
{
    char *path = make_path();
    struct entro_message message;
    const double sums[] = {-1, NAN, INFINITY, 1e39};
    (void)state;
    for (size_t i = 0; i < sizeof sums / sizeof *sums; i++) {
        const struct entro_imatrix_sums entry = {
            .name = "x", .n_columns = 1, .sums = &sums[i], .n_tokens = 1};
        assert_int_equal(entro_imatrix_write(path, false, &entry, 1, &origin, &message),
                         ENTRO_ERROR_ARGUMENT);
        assert_non_null(strstr(message.text, "\"x\""));
        assert_int_equal(access(path, F_OK), -1);
    }
    char name[65] = {0};
    memset(name, 'n', 64);
    const double one = 1;
    const struct entro_imatrix_sums long_name = {.name = name, .n_columns = 1, .sums = &one, .n_tokens = 1};
    assert_int_equal(entro_imatrix_write(path, false, &long_name, 1, &origin, &message),
                     ENTRO_ERROR_ARGUMENT);
    assert_int_equal(entro_imatrix_write(path, false, &long_name, 0, &origin, &message),
                     ENTRO_ERROR_ARGUMENT);
    drop_path(path);
}

static void directions_that_are_written_are_read_again_in_bf16(void **state)
{
    char *path = make_path();
    struct entro_imatrix imatrix;
    struct entro_message message;
    const double sums[3] = {12, 24, 36};
    /* 1 + 2^-8 is a tie, and goes to 1; a little more goes to 1 + 2^-7. */
    const float directions[6] = {1, -0.5F, 0, 1.00390625F, 1.0040F, -0x1p120F};
    const float rounded[6] = {1, -0.5F, 0, 1, 1.0078125F, -0x1p120F};
    const struct entro_imatrix_sums entries[3] = {
        {.name = "blk.0.attn_q.weight", .n_columns = 3, .sums = sums, .n_tokens = 12},
        {.name = "blk.0.ffn_gate.weight",
         .n_columns = 3,
         .sums = sums,
         .n_tokens = 12,
         .n_directions = 2,
         .directions = directions},
        {.name = "blk.0.ffn_up.weight", .n_columns = 3, .sums = sums, .n_tokens = 12},
    };
    (void)state;
    assert_int_equal(entro_imatrix_write(path, false, entries, 3, &origin, &message), ENTRO_OK);
    assert_int_equal(entro_imatrix_open(&imatrix, path, &message), ENTRO_OK);
    assert_int_equal(imatrix.n_entries, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_string_equal(imatrix.entries[i].name, entries[i].name);
        assert_memory_equal(imatrix.entries[i].mean_squares, ((const float[]){1, 2, 3}), 12);
        assert_int_equal(imatrix.entries[i].n_directions, entries[i].n_directions);
    }
    float read[6];
    read_directions(&imatrix.entries[1], read, 6);
    for (size_t i = 0; i < 6; i++)
        assert_true(read[i] == rounded[i]);
    entro_imatrix_free(&imatrix);
    drop_path(path);
}

static void directions_that_no_file_can_hold_are_not_written(void **state)
{
    char *path = make_path();
    struct entro_message message;
    const double sums[2] = {1, 1};
    static const float many[2 * (ENTRO_IMATRIX_MAX_DIRECTIONS + 1)];
    /* The last is a number in F32, but not when it is rounded. */
    const float bad[] = {NAN, INFINITY, -INFINITY, FLT_MAX};
    struct entro_imatrix_sums entry = {
        .name = "x", .n_columns = 2, .sums = sums, .n_tokens = 1, .n_directions = 2};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const float directions[4] = {0, 1, 2, bad[i]};
        entry.directions = directions;
        assert_int_equal(entro_imatrix_write(path, false, &entry, 1, &origin, &message),
                         ENTRO_ERROR_ARGUMENT);
        assert_non_null(strstr(message.text, "\"x\": column 1 of its direction 1"));
        assert_int_equal(access(path, F_OK), -1);
    }
    entry.directions = many;
    entry.n_directions = ENTRO_IMATRIX_MAX_DIRECTIONS + 1;
    assert_int_equal(entro_imatrix_write(path, false, &entry, 1, &origin, &message), ENTRO_ERROR_ARGUMENT);
    entry.n_directions = ENTRO_IMATRIX_MAX_DIRECTIONS;
    assert_int_equal(entro_imatrix_write(path, false, &entry, 1, &origin, &message), ENTRO_OK);
    /* A name with room for .in_sum2 alone. */
    char name[51] = {0};
    memset(name, 'n', 50);
    entry.name = name;
    assert_int_equal(entro_imatrix_write(path, true, &entry, 1, &origin, &message), ENTRO_ERROR_ARGUMENT);
    entry.n_directions = 0;
    assert_int_equal(entro_imatrix_write(path, true, &entry, 1, &origin, &message), ENTRO_OK);
    drop_path(path);
}

/* Writes a matrix of the names, all with 8 columns but for "attn_v" of layer 1, and opens it again. */
static void open_layers(struct entro_imatrix *out)
{
    static const char *const names[] = {
        "blk.0.attn_q.weight",   "blk.0.attn_k.weight", "blk.0.attn_v.weight",   "blk.0.attn_output.weight",
        "blk.0.ffn_gate.weight", "blk.0.ffn_up.weight", "blk.0.ffn_down.weight", "blk.1.attn_q.weight",
        "blk.1.attn_v.weight",   "blk.1.ffn_up.weight", "blk.2.attn_qkv.weight", "blk.2.ffn_up.weight",
        "blk.3.attn_q.weight",   "blk.3.attn_k.weight", "output.weight",
    };
    char *path = make_path();
    struct entro_message message;
    struct entro_imatrix_sums entries[sizeof names / sizeof *names];
    double sums[8] = {1, 1, 1, 1, 1, 1, 1, 1};
    float directions[8] = {1};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        bool is_layer_3 = strncmp(names[i], "blk.3", 5) == 0;
        bool has = strstr(names[i], "attn_q") || strstr(names[i], "attn_output") ||
                   strstr(names[i], "gate") || strstr(names[i], "down") ||
                   strcmp(names[i], "blk.2.ffn_up.weight") == 0;
        entries[i] =
            (struct entro_imatrix_sums){.name = names[i],
                                        .n_columns = strcmp(names[i], "blk.1.attn_v.weight") == 0 ? 7 : 8,
                                        .sums = sums,
                                        .n_tokens = 1,
                                        .n_directions = has && !is_layer_3,
                                        .directions = directions};
    }
    assert_int_equal(
        entro_imatrix_write(path, false, entries, sizeof names / sizeof *names, &origin, &message), ENTRO_OK);
    assert_int_equal(entro_imatrix_open(out, path, &message), ENTRO_OK);
    drop_path(path);
}

static void directions_are_found_with_the_first_matrix_of_the_same_input(void **state)
{
    static const struct {
        const char *name, *holder; /* NULL: there are none */
    } cases[] = {
        {"blk.0.attn_q.weight", "blk.0.attn_q.weight"},
        {"blk.0.attn_k.weight", "blk.0.attn_q.weight"},
        {"blk.0.attn_v.weight", "blk.0.attn_q.weight"},
        {"blk.0.attn_output.weight", "blk.0.attn_output.weight"},
        {"blk.0.ffn_gate.weight", "blk.0.ffn_gate.weight"},
        {"blk.0.ffn_up.weight", "blk.0.ffn_gate.weight"},
        {"blk.0.ffn_down.weight", "blk.0.ffn_down.weight"},
        {"model.layers.0.self_attn.q_proj.weight", "blk.0.attn_q.weight"},
        {"model.layers.0.self_attn.k_proj.weight", "blk.0.attn_q.weight"},
        {"model.layers.0.self_attn.v_proj.weight", "blk.0.attn_q.weight"},
        {"model.layers.0.self_attn.o_proj.weight", "blk.0.attn_output.weight"},
        {"model.layers.0.mlp.gate_proj.weight", "blk.0.ffn_gate.weight"},
        {"model.layers.0.mlp.up_proj.weight", "blk.0.ffn_gate.weight"},
        {"model.layers.0.mlp.down_proj.weight", "blk.0.ffn_down.weight"},
        {"model.language_model.layers.0.mlp.up_proj.weight", "blk.0.ffn_gate.weight"},
        {"model.layers.2.self_attn.qkv_proj.weight", "blk.2.attn_qkv.weight"},
        {"model.layers.2.mlp.gate_up_proj.weight", "blk.2.ffn_up.weight"},
        {"blk.2.ffn_up.weight", "blk.2.ffn_up.weight"},
        {"blk.1.attn_v.weight", NULL}, /* as many columns it would need */
        {"blk.1.ffn_up.weight", NULL}, /* no gate */
        {"model.layers.1.mlp.up_proj.weight", NULL},
        {"blk.1.attn_k.weight", NULL}, /* no entry */
        {"blk.3.attn_q.weight", NULL}, /* no directions */
        {"blk.3.attn_k.weight", NULL},
        {"output.weight", NULL},
        {"nonsense", NULL},
    };
    struct entro_imatrix imatrix;
    (void)state;
    open_layers(&imatrix);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct entro_imatrix_entry *found = entro_imatrix_find_directions(&imatrix, cases[i].name);
        if ((found == NULL) != (cases[i].holder == NULL) ||
            (found != NULL && strcmp(found->name, cases[i].holder) != 0))
            fail_msg("%s: found %s", cases[i].name, found == NULL ? "nothing" : found->name);
        if (found != NULL) {
            float directions[8];
            read_directions(found, directions, 8);
            assert_true(found->n_directions == 1 && directions[0] == 1);
        }
    }
    entro_imatrix_free(&imatrix);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_gguf_matrix_is_read_as_means),
        cmocka_unit_test(a_tensor_is_found_by_its_name_of_either_convention),
        cmocka_unit_test(an_expert_that_saw_no_token_counts_as_one_everywhere),
        cmocka_unit_test(importances_that_are_no_numbers_are_refused_by_the_tensors_name),
        cmocka_unit_test(truncated_gguf_matrices_are_refused),
        cmocka_unit_test(other_gguf_files_are_refused),
        cmocka_unit_test(directions_are_read),
        cmocka_unit_test(a_file_that_changes_under_its_reader_is_an_error),
        cmocka_unit_test(more_entries_than_any_model_has_are_refused),
        cmocka_unit_test(directions_that_do_not_fit_are_refused),
        cmocka_unit_test(the_older_form_is_read_as_means),
        cmocka_unit_test(damaged_files_of_the_older_form_are_refused),
        cmocka_unit_test(a_missing_file_is_not_found),
        cmocka_unit_test(what_is_written_is_read_again),
        cmocka_unit_test(what_no_file_can_hold_is_not_written),
        cmocka_unit_test(directions_that_are_written_are_read_again_in_bf16),
        cmocka_unit_test(directions_that_no_file_can_hold_are_not_written),
        cmocka_unit_test(directions_are_found_with_the_first_matrix_of_the_same_input),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
