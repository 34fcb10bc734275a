/* Which readers are in order, how far ahead of them is decoded, and where that ends. */
#include "tests/unit/test_fs_image.h"

#include "fs/prefetch.h"

#define BLOCK  ((size_t)4096)
#define BUDGET (16 * BLOCK)

struct fixture {
    struct test_image files;
    struct entro_image *image;
    struct entro_namespace *names;
    struct entro_prefetch *prefetch;
};

static void begin(struct fixture *fixture)
{
    struct entro_message message;
    test_image_make(&fixture->files, ENTRO_BLOCK_LOG2_MIN);
    assert_int_equal(entro_image_open(&fixture->image, fixture->files.path, &message), ENTRO_OK);
    assert_int_equal(entro_namespace_create(&fixture->names, fixture->image, &message), ENTRO_OK);
    fixture->prefetch = entro_prefetch_create(fixture->image);
    assert_non_null(fixture->prefetch);
    assert_false(entro_prefetch_is_on(fixture->prefetch));
    entro_prefetch_start(fixture->prefetch, BUDGET);
    assert_true(entro_prefetch_is_on(fixture->prefetch));
}

static void end(struct fixture *fixture)
{
    entro_prefetch_free(fixture->prefetch);
    entro_namespace_free(fixture->names);
    entro_image_close(fixture->image);
    test_image_free(&fixture->files);
}

static const struct entro_node *node_at(const struct fixture *fixture, const char *path)
{
    const struct entro_node *node = entro_namespace_find(fixture->names, path);
    assert_non_null(node);
    return node;
}

/* Takes everything; returns the bytes, which must lie one after another from `from` in the file. */
static uint64_t take_all(struct fixture *fixture, const struct entro_node *node, uint64_t from)
{
    struct entro_prefetch_piece piece;
    uint64_t n = 0;
    while (entro_prefetch_take(fixture->prefetch, &piece)) {
        assert_ptr_equal(piece.node, node);
        assert_int_equal(piece.span->start + piece.offset, from + n);
        assert_true(piece.size > 0 && piece.size <= BLOCK);
        n += piece.size;
    }
    return n;
}

static void three_requests_in_order_start_a_stream(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture);
    const struct entro_node *node = node_at(&fixture, "tensors/d.u8");
    assert_false(entro_prefetch_note(fixture.prefetch, node, 0, BLOCK));
    assert_false(entro_prefetch_note(fixture.prefetch, node, BLOCK, BLOCK));
    assert_int_equal(take_all(&fixture, node, 0), 0);
    assert_true(entro_prefetch_note(fixture.prefetch, node, 2 * BLOCK, BLOCK));
    assert_int_equal(take_all(&fixture, node, 3 * BLOCK), 12 * BLOCK); /* four times as far as it has come */
    assert_true(entro_prefetch_note(fixture.prefetch, node, 3 * BLOCK, BLOCK));
    assert_int_equal(take_all(&fixture, node, 15 * BLOCK), 5 * BLOCK); /* but no more than the budget */
    assert_true(entro_prefetch_note(fixture.prefetch, node, 4 * BLOCK, BLOCK));
    assert_int_equal(take_all(&fixture, node, 20 * BLOCK), BLOCK);
    end(&fixture);
}

static void requests_in_no_order_start_nothing(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture);
    const struct entro_node *node = node_at(&fixture, "tensors/d.u8");
    for (unsigned i = 0; i < 100; i++) /* the same again and again is no progress; far apart is no order */
        assert_false(entro_prefetch_note(fixture.prefetch, node, i % 2 == 0 ? 0 : UINT64_C(1) << 40, BLOCK));
    assert_int_equal(take_all(&fixture, node, 0), 0);
    end(&fixture);
}

static void decoding_ahead_ends_where_the_tensor_does(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture);
    const struct entro_node *node = node_at(&fixture, "tensors/d.u8");
    uint64_t start = node->size_bytes - 5 * BLOCK;
    for (unsigned i = 0; i < 3; i++)
        entro_prefetch_note(fixture.prefetch, node, start + i * BLOCK, BLOCK);
    assert_int_equal(take_all(&fixture, node, start + 3 * BLOCK), 2 * BLOCK);
    assert_false(entro_prefetch_note(fixture.prefetch, node, start + 3 * BLOCK, 2 * BLOCK));
    assert_int_equal(take_all(&fixture, node, 0), 0);
    end(&fixture);
}

static void a_file_of_many_tensors_ends_a_stream_at_each(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture);
    const struct entro_node *node = NULL; /* the one with the most spans */
    for (size_t i = 0; i < fixture.files.n_files; i++) {
        const struct entro_node *other = node_at(&fixture, fixture.files.files[i].path);
        if (node == NULL || other->n_spans > node->n_spans)
            node = other;
    }
    assert_true(node->n_spans >= 2);
    for (uint64_t offset = 0; offset < node->size_bytes; offset += 1000) {
        entro_prefetch_note(fixture.prefetch, node, offset, 1000);
        if (offset + 1000 >= node->size_bytes)
            break;
        const struct entro_span *span = entro_node_span(node, offset + 1000);
        struct entro_prefetch_piece piece;
        while (entro_prefetch_take(fixture.prefetch, &piece))
            assert_ptr_equal(piece.span, span);
    }
    end(&fixture);
}

static void streams_of_one_file_share_the_budget(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture);
    const struct entro_node *a = node_at(&fixture, "tensors/d.u8"), *b = node_at(&fixture, "sub/other.bin");
    for (unsigned i = 0; i < 3; i++) {
        entro_prefetch_note(fixture.prefetch, a, i * BLOCK, BLOCK);
        entro_prefetch_note(fixture.prefetch, b, i * BLOCK, BLOCK);
    }
    struct entro_prefetch_piece piece;
    uint64_t n_a = 0, n_b = 0;
    while (entro_prefetch_take(fixture.prefetch, &piece))
        *(piece.node == a ? &n_a : &n_b) += piece.size;
    assert_int_equal(n_a, BUDGET / 2);
    assert_true(n_b > 0 && n_b <= BUDGET / 2);
    end(&fixture);
}

static void a_budget_of_nothing_is_off(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture);
    entro_prefetch_start(fixture.prefetch, 0);
    assert_false(entro_prefetch_is_on(fixture.prefetch));
    const struct entro_node *node = node_at(&fixture, "tensors/d.u8");
    for (unsigned i = 0; i < 10; i++)
        assert_false(entro_prefetch_note(fixture.prefetch, node, i * BLOCK, BLOCK));
    end(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(three_requests_in_order_start_a_stream),
        cmocka_unit_test(requests_in_no_order_start_nothing),
        cmocka_unit_test(decoding_ahead_ends_where_the_tensor_does),
        cmocka_unit_test(a_file_of_many_tensors_ends_a_stream_at_each),
        cmocka_unit_test(streams_of_one_file_share_the_budget),
        cmocka_unit_test(a_budget_of_nothing_is_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
