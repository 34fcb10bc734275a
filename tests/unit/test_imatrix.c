/* Importance matrices: both forms of file, what is refused, and what is written. */
#include "tests/unit/imatrix_fixture.h"

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
    for (size_t i = 0; i < imatrix.n_entries; i++)
        assert_int_equal(imatrix.entries[i].n_directions, 0);
    assert_null(imatrix.source);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_gguf_matrix_is_read_as_means),
        cmocka_unit_test(a_tensor_is_found_by_its_name_of_either_convention),
        cmocka_unit_test(an_expert_that_saw_no_token_counts_as_one_everywhere),
        cmocka_unit_test(importances_that_are_no_numbers_are_refused_by_the_tensors_name),
        cmocka_unit_test(truncated_gguf_matrices_are_refused),
        cmocka_unit_test(other_gguf_files_are_refused),
        cmocka_unit_test(more_entries_than_any_model_has_are_refused),
        cmocka_unit_test(the_older_form_is_read_as_means),
        cmocka_unit_test(damaged_files_of_the_older_form_are_refused),
        cmocka_unit_test(a_missing_file_is_not_found),
        cmocka_unit_test(what_is_written_is_read_again),
        cmocka_unit_test(what_no_file_can_hold_is_not_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
