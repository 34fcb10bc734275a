/* The names, sizes, inode numbers and attributes of a mount, and tensors.json. */
#include "tests/unit/test_fs_image.h"

#include <jansson.h>

#include "fs/attributes.h"
#include "fs/namespace.h"
#include "fs/reader.h"

static struct test_image image;
static struct entro_image *opened;
static struct entro_namespace *names;

static int set_up(void **state)
{
    (void)state;
    struct entro_message message = {{0}};
    test_image_make(&image, 15);
    if (entro_image_open(&opened, image.path, &message) != ENTRO_OK ||
        entro_namespace_create(&names, opened, &message) != ENTRO_OK)
        fail_msg("%s", message.text);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    entro_namespace_free(names);
    entro_image_close(opened);
    test_image_free(&image);
    return 0;
}

static void every_expected_file_is_found_with_its_size(void **state)
{
    (void)state;
    for (size_t i = 0; i < image.n_files; i++) {
        const struct entro_node *node = entro_namespace_find(names, image.files[i].path);
        assert_non_null(node);
        assert_false(node->is_folder);
        assert_int_equal(node->size_bytes, image.files[i].size);
        assert_ptr_equal(entro_namespace_node(names, node->inode), node);
        char path[256];
        entro_namespace_path(names, node, path, sizeof path);
        assert_string_equal(path, image.files[i].path);
    }
}

static void names_that_are_not_there_are_not_found(void **state)
{
    (void)state;
    static const char *const absent[] = {
        "nothing", "tensors/nothing",      "tensors/a.facto", "tensors/a.factorss", "sub/deep/er/file.bin/x",
        "SUB",     "tensors/d.u8.outliers"};
    for (size_t i = 0; i < sizeof absent / sizeof absent[0]; i++)
        assert_null(entro_namespace_find(names, absent[i]));
    assert_null(entro_namespace_node(names, 0));
    assert_null(entro_namespace_node(names, entro_namespace_last_inode(names) + 1));
    assert_null(entro_namespace_node(names, UINT64_MAX));
}

static void inode_numbers_follow_the_formula(void **state)
{
    (void)state;
    const struct entro_image_info *info = entro_image_info(opened);
    assert_int_equal(entro_namespace_find(names, "")->inode, 1);
    assert_int_equal(entro_namespace_find(names, "tensors")->inode, 2);
    assert_int_equal(entro_namespace_find(names, "npy")->inode, 3);
    assert_int_equal(entro_namespace_find(names, "tensors.json")->inode, 4);
    for (uint32_t i = 0; i < info->n_files; i++)
        assert_int_equal(entro_namespace_find(names, entro_image_file(opened, i)->path)->inode, 5 + i);
    static const char *const suffixes[5] = {"", ".row_scale", ".column_scale", ".outliers", ".npy"};
    for (uint32_t t = 0; t < info->n_tensors; t++)
        for (unsigned k = 0; k < 5; k++) {
            char path[256];
            const char *name = entro_image_tensor(opened, t)->name;
            snprintf(path, sizeof path, "%s/%s%s", k == 4 ? "npy" : "tensors", name, suffixes[k]);
            const struct entro_node *node = entro_namespace_find(names, path);
            if (k == 0 || k == 4)
                assert_non_null(node);
            if (node != NULL)
                assert_int_equal(node->inode, 5 + info->n_files + 5 * t + k);
        }
    uint64_t first_folder = 5 + info->n_files + 5 * (uint64_t)info->n_tensors;
    assert_int_equal(entro_namespace_find(names, "sub")->inode, first_folder);
    assert_int_equal(entro_namespace_find(names, "sub/deep")->inode, first_folder + 1);
    assert_int_equal(entro_namespace_find(names, "sub/deep/er")->inode, first_folder + 2);
}

static void folders_list_their_children_in_order(void **state)
{
    (void)state;
    size_t n_seen = 1; /* the root */
    for (uint64_t inode = 1; inode <= entro_namespace_last_inode(names); inode++) {
        const struct entro_node *folder = entro_namespace_node(names, inode);
        if (folder == NULL || !folder->is_folder)
            continue;
        size_t n_folders = 0;
        for (size_t i = 0; i < folder->n_children; i++) {
            const struct entro_node *child = entro_namespace_node(names, folder->children[i]);
            assert_int_equal(child->parent, inode);
            assert_ptr_equal(entro_namespace_lookup(names, folder, child->name), child);
            if (i > 0)
                assert_true(strcmp(entro_namespace_node(names, folder->children[i - 1])->name, child->name) <
                            0);
            n_folders += child->is_folder;
            n_seen++;
        }
        assert_int_equal(folder->n_folders, n_folders);
    }
    assert_int_equal(n_seen, entro_namespace_n_nodes(names));
    assert_int_equal(entro_namespace_find(names, "")->n_folders, 3);
}

static void npy_files_are_a_header_and_the_raw_file(void **state)
{
    (void)state;
    static const struct {
        const char *name, *header;
    } cases[] = {
        {"d.u8", "{'descr': '|u1', 'fortran_order': False, 'shape': (300, 1024), }"},
        {"b.u4", "{'descr': '|u1', 'fortran_order': False, 'shape': (64, 2048), }"},
        {"c.odd", "{'descr': '|u1', 'fortran_order': False, 'shape': (50000,), }"},
        {"l.bf16", "{'descr': '<u2', 'fortran_order': False, 'shape': (200, 1000), }"},
        {"l.f32", "{'descr': '<f4', 'fortran_order': False, 'shape': (111, 301), }"},
        {"l.none", "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 5), }"},
        {"k.q4_k", "{'descr': '|u1', 'fortran_order': False, 'shape': (40, 1440), }"},
    };
    struct entro_reader *reader;
    assert_int_equal(entro_reader_create(&reader, names, 0, (struct entro_report){0}), ENTRO_OK);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char path[128];
        snprintf(path, sizeof path, "npy/%s.npy", cases[i].name);
        const struct entro_node *node = entro_namespace_find(names, path);
        snprintf(path, sizeof path, "tensors/%s", cases[i].name);
        const struct expected_file *raw = test_expected(&image, path);
        uint8_t *bytes = malloc((size_t)node->size_bytes);
        size_t n_read;
        assert_int_equal(entro_reader_read(reader, node, 0, (size_t)node->size_bytes, bytes, &n_read, NULL),
                         ENTRO_OK);
        size_t data_offset = 10U + entro_load_u16(bytes + 8);
        assert_int_equal(data_offset % 64, 0);
        assert_memory_equal(bytes, "\x93NUMPY\x01\x00", 8);
        assert_memory_equal(bytes + 10, cases[i].header, strlen(cases[i].header));
        assert_int_equal(node->size_bytes, data_offset + raw->size);
        if (raw->size > 0)
            assert_memory_equal(bytes + data_offset, raw->bytes, raw->size);
        free(bytes);
    }
    entro_reader_free(reader);
}

static void files_cost_what_their_streams_cost(void **state)
{
    (void)state;
    const struct entro_node *raw = entro_namespace_find(names, "tensors/d.u8");
    const struct entro_stream *stream = entro_image_stream(opened, raw->spans[0].reference);
    assert_int_equal(raw->stored_bytes, stream->stored_bytes);
    assert_true(raw->stored_bytes < raw->size_bytes);
    const struct entro_node *view = entro_namespace_find(names, "d.q8_0");
    assert_int_equal(view->stored_bytes, stream->stored_bytes);
    const struct entro_node *npy = entro_namespace_find(names, "npy/d.u8.npy");
    assert_int_equal(npy->stored_bytes, stream->stored_bytes + npy->spans[0].size_bytes);
    assert_int_equal(entro_namespace_find(names, "empty.txt")->stored_bytes, 0);
}

static const json_t *find_tensor(const json_t *root, const char *name)
{
    const json_t *tensors = json_object_get(root, "tensors");
    for (size_t i = 0; i < json_array_size(tensors); i++) {
        const json_t *tensor = json_array_get(tensors, i);
        if (strcmp(json_string_value(json_object_get(tensor, "name")), name) == 0)
            return tensor;
    }
    fail_msg("tensors.json has no %s", name);
    return NULL;
}

static void tensors_json_tells_what_the_image_holds(void **state)
{
    (void)state;
    const struct entro_span *span = entro_namespace_find(names, "tensors.json")->spans;
    json_t *root =
        json_loadb((const char *)span->bytes, (size_t)span->size_bytes, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(root);
    assert_int_equal(json_integer_value(json_object_get(root, "format")), 1);
    assert_string_equal(json_string_value(json_object_get(root, "source")), "safetensors");
    assert_int_equal(json_array_size(json_object_get(root, "tensors")), entro_image_info(opened)->n_tensors);

    const json_t *tensor = find_tensor(root, "a.factors");
    assert_string_equal(json_string_value(json_object_get(tensor, "file")), "tensors/a.factors");
    assert_string_equal(json_string_value(json_object_get(tensor, "dtype")), "BF16");
    assert_string_equal(json_string_value(json_object_get(tensor, "scheme")), "balanced");
    assert_int_equal(json_integer_value(json_object_get(tensor, "bits")), 8);
    assert_true((float)json_real_value(json_object_get(tensor, "scale")) == 0.01234F);
    assert_int_equal(json_integer_value(json_object_get(tensor, "zero_point")), 117);
    assert_string_equal(json_string_value(json_object_get(tensor, "row_scale")),
                        "tensors/a.factors.row_scale");
    assert_string_equal(json_string_value(json_object_get(tensor, "column_scale")),
                        "tensors/a.factors.column_scale");
    assert_string_equal(json_string_value(json_object_get(tensor, "outliers")), "tensors/a.factors.outliers");
    assert_int_equal(json_integer_value(json_array_get(json_object_get(tensor, "shape"), 1)), 1001);
    const json_t *view = json_object_get(tensor, "view");
    assert_string_equal(json_string_value(json_object_get(view, "file")), "a.bf16");
    assert_string_equal(json_string_value(json_object_get(view, "dtype")), "BF16");
    assert_int_equal(json_integer_value(json_object_get(view, "offset")), strlen("an odd header"));
    double stored = (double)json_integer_value(json_object_get(tensor, "stored_bytes"));
    assert_true(json_real_value(json_object_get(tensor, "bits_per_weight")) == 8 * stored / (37 * 1001));
    assert_true(json_real_value(json_object_get(tensor, "snr_db")) == 40.25);
    assert_int_equal(strlen(json_string_value(json_object_get(tensor, "xxh3_128"))), 32);

    tensor = find_tensor(root, "l.bf16");
    assert_string_equal(json_string_value(json_object_get(tensor, "scheme")), "lossless");
    static const char *const nulls[] = {"scale",        "zero_point", "bits",   "row_scale",
                                        "column_scale", "outliers",   "snr_db", "view"};
    for (size_t i = 0; i < sizeof nulls / sizeof nulls[0]; i++)
        assert_true(json_is_null(json_object_get(tensor, nulls[i])));
    json_decref(root);
}

static void tensors_carry_their_facts_as_attributes(void **state)
{
    (void)state;
    struct entro_stats stats = {0};
    struct entro_attributes attributes = {.names = names, .stats = &stats};
    atomic_store(&attributes.notes, "note 1\n");
    char value[ENTRO_ATTRIBUTE_BYTES];
    size_t length;
    bool grows;
    const struct entro_node *node = entro_namespace_find(names, "tensors/d.u8");
    assert_true(entro_attribute_value(&attributes, node, "user.entrofs.shape", value, &length, &grows));
    assert_string_equal(value, "300,1024");
    assert_int_equal(length, 8);
    assert_false(grows);
    assert_true(entro_attribute_value(&attributes, node, "user.entrofs.scale", value, &length, &grows));
    assert_true(strtof(value, NULL) == 0.0078125F);
    assert_false(entro_attribute_value(&attributes, node, "user.entrofs.stats", value, &length, &grows));
    assert_false(entro_attribute_value(&attributes, node, "user.other", value, &length, &grows));
    size_t n = entro_attribute_names(names, node, value), n_names = 0;
    for (size_t i = 0; i < n; i += strlen(value + i) + 1) {
        char fact[ENTRO_ATTRIBUTE_BYTES];
        assert_true(entro_attribute_value(&attributes, node, value + i, fact, &length, &grows));
        n_names++;
    }
    assert_int_equal(n_names, 7);
    /* No scale where there is none. */
    node = entro_namespace_find(names, "npy/l.f32.npy");
    assert_false(entro_attribute_value(&attributes, node, "user.entrofs.scale", value, &length, &grows));
    assert_true(entro_attribute_value(&attributes, node, "user.entrofs.dtype", value, &length, &grows));
    assert_string_equal(value, "F32");
    /* Other files have none. */
    assert_int_equal(entro_attribute_names(names, entro_namespace_find(names, "config.json"), value), 0);
    /* The root has the counters. */
    node = entro_namespace_find(names, "");
    assert_true(entro_attribute_value(&attributes, node, "user.entrofs.stats", value, &length, &grows));
    assert_true(grows);
    assert_non_null(strstr(value, "blocks_decoded 0\n"));
    assert_non_null(strstr(value, "note 1\n"));
}

/* A tensor whose name is another's with a suffix of ours. */
static void names_that_collide_are_refused(void **state)
{
    (void)state;
    struct test_image bad;
    test_image_begin(&bad);
    struct test_tensor first = {
        .name = "x", .bits = 8, .rows = 2, .columns = 4, .scale = 1, .zero_point = 1, .has_factors = true};
    struct test_tensor second = {
        .name = "x.row_scale", .bits = 8, .rows = 2, .columns = 4, .scale = 1, .zero_point = 1};
    test_add_quantized(&bad, &first);
    test_add_quantized(&bad, &second);
    test_image_finish(&bad);
    struct entro_image *bad_image;
    struct entro_namespace *bad_names;
    struct entro_message message = {{0}};
    assert_int_equal(entro_image_open(&bad_image, bad.path, &message), ENTRO_OK);
    assert_int_equal(entro_namespace_create(&bad_names, bad_image, &message), ENTRO_ERROR_FORMAT);
    assert_null(bad_names);
    assert_non_null(strstr(message.text, "tensors/x.row_scale"));
    entro_image_close(bad_image);
    test_tensor_free(&first);
    test_tensor_free(&second);
    test_image_free(&bad);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_expected_file_is_found_with_its_size),
        cmocka_unit_test(names_that_are_not_there_are_not_found),
        cmocka_unit_test(inode_numbers_follow_the_formula),
        cmocka_unit_test(folders_list_their_children_in_order),
        cmocka_unit_test(npy_files_are_a_header_and_the_raw_file),
        cmocka_unit_test(files_cost_what_their_streams_cost),
        cmocka_unit_test(tensors_json_tells_what_the_image_holds),
        cmocka_unit_test(tensors_carry_their_facts_as_attributes),
        cmocka_unit_test(names_that_collide_are_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
