/* The balanced scheme's second half where the source does not hold still: mkentrofs/encode.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "mkentrofs/encode.h"
#include "writer_fixture.h"

#define N_ROWS    128
#define N_COLUMNS 256
#define N_WEIGHTS ((size_t)N_ROWS * N_COLUMNS)

#define SCALE       1.0F
#define LAST_INSIDE 127.0F  /* of a grid of 8 bits and this scale */
#define FAR_OUTSIDE 1000.0F /* has the same code */

/* The file's weights are changed after the first read: a tensor of this size is one. */
static unsigned n_reads;
static float second_weights[N_WEIGHTS];

enum entro_error __real_entro_input_read(const struct entro_input *input, uint64_t offset, size_t size_bytes,
                                         uint8_t *target, struct entro_message *message);
enum entro_error __wrap_entro_input_read(const struct entro_input *input, uint64_t offset, size_t size_bytes,
                                         uint8_t *target, struct entro_message *message);

static void write_weights(const char *path, const float *weights)
{
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, weights, N_WEIGHTS * sizeof *weights, 0), N_WEIGHTS * sizeof *weights);
    close(fd);
}

enum entro_error __wrap_entro_input_read(const struct entro_input *input, uint64_t offset, size_t size_bytes,
                                         uint8_t *target, struct entro_message *message)
{
    enum entro_error error = __real_entro_input_read(input, offset, size_bytes, target, message);
    if (n_reads++ == 0)
        write_weights(input->path, second_weights);
    return error;
}

/* Encodes a tensor whose first pass sees `first`, and all others second_weights. */
static enum entro_error encode(struct writer_setting *setting, const float *first, struct entro_encoded *out)
{
    static char name[] = "w";
    char path[4096];
    snprintf(path, sizeof path, "%s/weights", setting->folder.path);
    write_weights(path, first);
    n_reads = 0;
    static const struct entro_monitor monitor = {0};
    struct entro_input input;
    assert_int_equal(entro_input_open(&input, path, NULL, &monitor, &setting->message), ENTRO_OK);
    struct entro_source_tensor source = {.name = name,
                                         .dtype = ENTRO_DTYPE_F32,
                                         .rank = 2,
                                         .shape = {N_ROWS, N_COLUMNS},
                                         .n_elements = N_WEIGHTS,
                                         .size_bytes = N_WEIGHTS * sizeof(float)};
    struct entro_balanced_tensor tensor = {.norm = 1, .bits = 8, .scale = SCALE};
    struct entro_writer *writer = writer_start(setting, true);
    struct entro_encoder encoder = {.writer = writer, .pool = setting->pool, .monitor = &monitor};
    enum entro_error error =
        entro_encode_balanced(&encoder, &input, &source, &tensor, out, &setting->message);
    entro_writer_free(writer);
    entro_input_close(&input);
    return error;
}

static void fill(float *weights, size_t n_outside)
{
    for (size_t i = 0; i < N_WEIGHTS; i++)
        weights[i] = i < n_outside ? FAR_OUTSIDE : i < N_WEIGHTS / 2 ? LAST_INSIDE : (float)(i % 7);
}

static void outliers_are_counted_and_their_list_is_part_of_the_tensor(void **state)
{
    static float weights[N_WEIGHTS];
    struct entro_encoded encoded;
    fill(weights, 3);
    fill(second_weights, 3);
    assert_int_equal(encode(*state, weights, &encoded), ENTRO_OK);
    assert_int_equal(encoded.n_outliers, 3);
    assert_int_equal(encoded.tensor.scheme, ENTRO_SCHEME_BALANCED);
    assert_true(encoded.tensor.outliers != ENTRO_NONE && encoded.tensor.row_scale == ENTRO_NONE);
    assert_true(encoded.largest == (double)FAR_OUTSIDE && encoded.error_energy == 0);
    assert_true(encoded.side_bytes >= 3 * ENTRO_OUTLIER_BYTES);
}

static void outliers_that_come_or_go_between_the_passes_are_an_error(void **state)
{
    static float weights[N_WEIGHTS];
    struct writer_setting *setting = *state;
    struct entro_encoded encoded;
    static const size_t n_outside[][2] = {{1, N_WEIGHTS / 2}, {N_WEIGHTS / 2, 1}, {1, 0}};
    for (size_t i = 0; i < sizeof n_outside / sizeof n_outside[0]; i++) {
        fill(weights, n_outside[i][0]);
        fill(second_weights, n_outside[i][1]);
        assert_int_equal(encode(setting, weights, &encoded), ENTRO_ERROR_IO);
        assert_non_null(strstr(setting->message.text, "the file changed during the build"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(outliers_are_counted_and_their_list_is_part_of_the_tensor,
                                        writer_set_up, writer_tear_down),
        cmocka_unit_test_setup_teardown(outliers_that_come_or_go_between_the_passes_are_an_error,
                                        writer_set_up, writer_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
