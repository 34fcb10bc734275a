/* Files of saved predictions: what comes back of rows, and every way in which a file can be the wrong one. */
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "codec/bytes.h"
#include "codec/checksum.h"
#include "runner/saved_logits.h"
#include "runner_fixture.h"

#define N_VOCABULARY 7
#define N_WINDOWS    3
#define N_SCORED     2

static const struct entro_saved_shape shape = {
    .n_vocabulary = N_VOCABULARY, .n_window = 6, .n_scored = N_SCORED, .n_windows = N_WINDOWS};
static const uint64_t hashes[N_WINDOWS] = {11, 22, 33};

/* The logits of row `row`. */
static float logit(size_t row, size_t token)
{
    return 100.0F - (float)((token * 3 + row) % N_VOCABULARY) * 1.37F;
}

static size_t top_of(size_t row)
{
    for (size_t token = 0;; token++)
        if ((token * 3 + row) % N_VOCABULARY == 0)
            return token;
}

struct file {
    char *directory;
    char path[600];
};

static struct file write_file(void)
{
    struct file file = {.directory = fixture_create()};
    struct entro_message message;
    struct entro_output output;
    uint8_t row[N_VOCABULARY * 2 + 8];
    snprintf(file.path, sizeof file.path, "%s/saved", file.directory);
    assert_int_equal(entro_saved_row_bytes(N_VOCABULARY), sizeof row);
    assert_int_equal(entro_saved_create(&output, file.path, &shape, hashes, &message), ENTRO_OK);
    for (size_t i = 0; i < (size_t)N_WINDOWS * N_SCORED; i++) {
        float logits[N_VOCABULARY];
        for (size_t token = 0; token < N_VOCABULARY; token++)
            logits[token] = logit(i, token);
        entro_saved_row_pack(logits, N_VOCABULARY, top_of(i), row);
        assert_int_equal(entro_output_append(&output, row, sizeof row, &message), ENTRO_OK);
    }
    assert_int_equal(access(file.path, F_OK), -1);
    assert_int_equal(entro_output_commit(&output, &message), ENTRO_OK);
    entro_output_free(&output);
    return file;
}

static void open_refused(const char *path, const struct entro_saved_shape *wanted, const uint64_t *windows,
                         enum entro_error expected, const char *words)
{
    struct entro_saved_logits saved;
    struct entro_message message = {0};
    assert_int_equal(entro_saved_open(&saved, path, wanted, windows, &message), expected);
    if (strstr(message.text, words) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", message.text, words);
    entro_saved_close(&saved);
}

static void rows_come_back_to_half_a_step(void **state)
{
    (void)state;
    struct file file = write_file();
    struct entro_saved_logits saved;
    struct entro_message message;
    uint8_t rows[N_SCORED * (N_VOCABULARY * 2 + 8)];
    float logits[N_VOCABULARY];
    assert_int_equal(entro_saved_open(&saved, file.path, &shape, hashes, &message), ENTRO_OK);
    for (size_t window = 0; window < N_WINDOWS; window++) {
        assert_int_equal(entro_saved_read(&saved, N_SCORED, rows, &message), ENTRO_OK);
        for (size_t i = 0; i < N_SCORED; i++) {
            assert_true(entro_saved_row_unpack(rows + i * saved.row_bytes, N_VOCABULARY, logits));
            for (size_t token = 0; token < N_VOCABULARY; token++) {
                size_t row = window * N_SCORED + i;
                float expected = logit(row, token) - logit(row, top_of(row));
                assert_true(fabsf(logits[token] - expected) <= 0.5001F / 2048);
            }
        }
    }
    assert_int_equal(entro_saved_read(&saved, 1, rows, &message), ENTRO_ERROR_FORMAT);
    entro_saved_close(&saved);
    fixture_remove(file.directory);
}

static void fewer_windows_of_the_same_text_can_be_read(void **state)
{
    (void)state;
    struct file file = write_file();
    struct entro_saved_shape two = shape;
    struct entro_saved_logits saved;
    struct entro_message message;
    two.n_windows = 2;
    assert_int_equal(entro_saved_open(&saved, file.path, &two, hashes, &message), ENTRO_OK);
    entro_saved_close(&saved);
    fixture_remove(file.directory);
}

static void the_first_of_the_largest_stays_the_largest(void **state)
{
    (void)state;
    static const float logits[] = {-1e30F, 2.0F, 2.0F, 1.9999F, -5000.0F};
    uint8_t row[sizeof logits / sizeof *logits * 2 + 8];
    float back[sizeof logits / sizeof *logits];
    entro_saved_row_pack(logits, 5, 1, row);
    assert_true(entro_saved_row_unpack(row, 5, back));
    assert_true(back[1] == 0);
    for (size_t i = 0; i < 5; i++)
        assert_true(i == 1 || back[i] < 0);
    assert_true(back[2] >= -1.0F / 2048);
    assert_true(back[0] < -31.9F && back[4] < -31.9F && back[0] >= -32.0F);
}

static void a_changed_row_is_seen(void **state)
{
    (void)state;
    static const float logits[] = {1, 2, 3};
    uint8_t row[14];
    float back[3];
    entro_saved_row_pack(logits, 3, 2, row);
    for (size_t i = 0; i < sizeof row; i++) {
        row[i] ^= 4;
        assert_false(entro_saved_row_unpack(row, 3, back));
        row[i] ^= 4;
    }
    assert_true(entro_saved_row_unpack(row, 3, back));
}

static void a_file_of_something_else_is_refused(void **state)
{
    (void)state;
    struct file file = write_file();
    struct entro_saved_shape other = shape;
    uint64_t others[] = {11, 23, 33};
    other.n_vocabulary++;
    open_refused(file.path, &other, hashes, ENTRO_ERROR_ARGUMENT, "a vocabulary of 7 tokens");
    other = shape;
    other.n_window = 8;
    open_refused(file.path, &other, hashes, ENTRO_ERROR_ARGUMENT, "windows of 6 tokens with 2 scored");
    other = shape;
    other.n_scored = 5;
    open_refused(file.path, &other, hashes, ENTRO_ERROR_ARGUMENT, "--convention");
    other = shape;
    other.n_windows = 4;
    open_refused(file.path, &other, (const uint64_t[]){11, 22, 33, 44}, ENTRO_ERROR_ARGUMENT, "--chunks 3");
    open_refused(file.path, &shape, others, ENTRO_ERROR_ARGUMENT, "another text");
    open_refused(file.directory, &shape, hashes, ENTRO_ERROR_FORMAT, "no file of saved logits");
    open_refused("/dev/null", &shape, hashes, ENTRO_ERROR_FORMAT, "no file of saved logits");
    snprintf(file.path + strlen(file.path), 3, "-x");
    open_refused(file.path, &shape, hashes, ENTRO_ERROR_NOT_FOUND, "No such file");
    fixture_remove(file.directory);
}

static void a_file_that_was_cut_off_or_changed_is_refused(void **state)
{
    (void)state;
    struct file file = write_file();
    struct stat status;
    uint8_t bytes[64 + N_WINDOWS * 8 + 8];
    assert_int_equal(stat(file.path, &status), 0);
    int fd = open(file.path, O_RDWR);
    assert_int_equal(read(fd, bytes, sizeof bytes), sizeof bytes);
    /* Each byte of header and table. */
    for (size_t i = 0; i < sizeof bytes; i++) {
        uint8_t changed = bytes[i] ^ 1;
        assert_int_equal(pwrite(fd, &changed, 1, (off_t)i), 1);
        open_refused(file.path, &shape, hashes, ENTRO_ERROR_FORMAT, "saved");
        assert_int_equal(pwrite(fd, &bytes[i], 1, (off_t)i), 1);
    }
    /* A header that is valid and promises more than there can be. */
    uint8_t header[64];
    memcpy(header, bytes, sizeof header);
    for (size_t offset = 16; offset <= 32; offset += 8) {
        entro_store_u64(header + offset, UINT64_MAX / 2);
        entro_store_u64(header + 56, entro_checksum64(header, 56));
        assert_int_equal(pwrite(fd, header, sizeof header, 0), sizeof header);
        /* The size of a window is not part of the file's size: it is held against what is wanted. */
        open_refused(file.path, &shape, hashes, offset == 16 ? ENTRO_ERROR_ARGUMENT : ENTRO_ERROR_FORMAT, "");
        memcpy(header, bytes, sizeof header);
    }
    assert_int_equal(pwrite(fd, bytes, sizeof bytes, 0), sizeof bytes);
    for (off_t size = status.st_size - 1; size >= 0; size -= 5) {
        assert_int_equal(ftruncate(fd, size), 0);
        open_refused(file.path, &shape, hashes, ENTRO_ERROR_FORMAT, size < 64 ? "no file" : "cut off");
    }
    close(fd);
    fixture_remove(file.directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_come_back_to_half_a_step),
        cmocka_unit_test(fewer_windows_of_the_same_text_can_be_read),
        cmocka_unit_test(the_first_of_the_largest_stays_the_largest),
        cmocka_unit_test(a_changed_row_is_seen),
        cmocka_unit_test(a_file_of_something_else_is_refused),
        cmocka_unit_test(a_file_that_was_cut_off_or_changed_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
