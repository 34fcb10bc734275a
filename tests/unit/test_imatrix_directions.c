/* Directions in importance matrices: what is read, refused, written, and found for which tensor. */
#include "tests/unit/imatrix_fixture.h"

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
        cmocka_unit_test(directions_are_read),
        cmocka_unit_test(a_file_that_changes_under_its_reader_is_an_error),
        cmocka_unit_test(directions_that_do_not_fit_are_refused),
        cmocka_unit_test(directions_that_are_written_are_read_again_in_bf16),
        cmocka_unit_test(directions_that_no_file_can_hold_are_not_written),
        cmocka_unit_test(directions_are_found_with_the_first_matrix_of_the_same_input),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
