/* The command line of mkentrofs: mkentrofs/options.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "codec/format.h"
#include "mkentrofs/options.h"

#define MAX_ARGUMENTS 16

struct command {
    enum entro_error error;
    struct entro_mkentrofs_options options;
    struct entro_message message;
};

/* Parses the words of a command line (NULL ends them). */
static void parse(struct command *command, ...)
{
    char *arguments[MAX_ARGUMENTS + 1] = {"mkentrofs"};
    int n = 1;
    va_list list;
    va_start(list, command);
    for (char *word; (word = va_arg(list, char *)) && n < MAX_ARGUMENTS; n++)
        arguments[n] = word;
    va_end(list);
    memset(&command->message, 0, sizeof command->message);
    command->error = entro_mkentrofs_options_parse(&command->options, n, arguments, &command->message);
}

static void defaults_are_balanced_with_five_and_a_half_bits(void **state)
{
    (void)state;
    struct command c;
    parse(&c, "model", "image", NULL);
    assert_int_equal(c.error, ENTRO_OK);
    assert_string_equal(c.options.source_path, "model");
    assert_string_equal(c.options.image_path, "image");
    assert_int_equal(c.options.plan.treatment, ENTRO_TREATMENT_BALANCED);
    assert_true(c.options.plan.bpw == 5.5 && !c.options.plan.bpw_is_asked);
    assert_null(c.options.plan.imatrix_path);
    assert_int_equal(c.options.plan.bits, 8);
    assert_int_equal(c.options.plan.scale_bits, 7);
    assert_int_equal(c.options.block_log2, 16);
    assert_true(c.options.n_threads >= 1);
    assert_false(c.options.replace);
    assert_false(c.options.quiet);
    entro_mkentrofs_options_free(&c.options);
}

static void every_option_is_understood_before_and_after_the_paths(void **state)
{
    (void)state;
    struct command c;
    parse(&c, "--bits", "4", "model", "--keep=a*", "--keep", "b", "image", "--exclude", "c", "-t3", "--force",
          "--quiet", NULL);
    assert_int_equal(c.error, ENTRO_OK);
    assert_int_equal(c.options.plan.treatment, ENTRO_TREATMENT_MIXED);
    assert_int_equal(c.options.plan.bits, 4);
    assert_int_equal(c.options.plan.n_keeps, 2);
    assert_string_equal(c.options.plan.keeps[0], "a*");
    assert_string_equal(c.options.plan.keeps[1], "b");
    assert_int_equal(c.options.n_excludes, 1);
    assert_string_equal(c.options.excludes[0], "c");
    assert_int_equal(c.options.n_threads, 3);
    assert_true(c.options.replace);
    assert_true(c.options.quiet);
    assert_string_equal(c.options.image_path, "image");
    entro_mkentrofs_options_free(&c.options);
    parse(&c, "--scheme", "mixed", "--scale-bits", "24", "--report", "json", "a", "b", NULL);
    assert_int_equal(c.error, ENTRO_OK);
    assert_int_equal(c.options.plan.treatment, ENTRO_TREATMENT_MIXED);
    assert_int_equal(c.options.plan.scale_bits, 24);
    assert_int_equal(c.options.report, ENTRO_REPORT_JSON);
    entro_mkentrofs_options_free(&c.options);
}

static void options_of_two_schemes_do_not_go_together(void **state)
{
    (void)state;
    static char *const refused[][2] = {
        {"--bpw=4", "--quality=small"},        {"--bpw=4", "--bits=8"},
        {"--quality=small", "--scale-bits=7"}, {"--imatrix=m", "--bits=8"},
        {"--imatrix=m", "--scheme=mixed"},     {"--imatrix=m", "--scheme=lossless"},
        {"--bpw=4", "--scheme=lossless"},      {"--bits=8", "--scheme=balanced"},
        {"--bits=8", "--scheme=lossless"}};
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        struct command c;
        parse(&c, refused[i][0], refused[i][1], "a", "b", NULL);
        assert_int_equal(c.error, ENTRO_ERROR_ARGUMENT);
    }
    struct command c;
    parse(&c, "--imatrix", "m.gguf", "--quality", "small", "a", "b", NULL);
    assert_int_equal(c.error, ENTRO_OK);
    assert_string_equal(c.options.plan.imatrix_path, "m.gguf");
    assert_true(c.options.plan.bpw == 4.1);
    entro_mkentrofs_options_free(&c.options);
}

static void block_sizes_are_powers_of_two_with_or_without_a_unit(void **state)
{
    (void)state;
    static const struct {
        char *text;
        unsigned block_log2; /* 0: refused */
    } cases[] = {{"4K", 12}, {"4096", 12}, {"128K", 17}, {"131072", 17}, {"64k", 16},
                 {"2K", 0},  {"256K", 0},  {"5K", 0},    {"K", 0},       {"", 0},
                 {"64M", 0}, {"-4K", 0},   {"+4K", 0},   {"64KK", 0},    {"18446744073709617152", 0},
                 {"0", 0},   {" 64K", 0},  {"64K ", 0},  {"0x10000", 0}, {"4194304K", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct command c;
        parse(&c, "--block-size", cases[i].text, "a", "b", NULL);
        if (cases[i].block_log2) {
            assert_int_equal(c.error, ENTRO_OK);
            assert_int_equal(c.options.block_log2, cases[i].block_log2);
            entro_mkentrofs_options_free(&c.options);
        } else {
            assert_int_equal(c.error, ENTRO_ERROR_ARGUMENT);
            assert_non_null(strstr(c.message.text, "--block-size"));
        }
    }
}

static void a_wrong_option_is_named(void **state)
{
    (void)state;
    static char *const cases[][3] = {
        {"--nonsense", "a", "--nonsense"},
        {"-x", "a", "-x"},
        {"-qx", "a", "-q"},
        {"--force=1", "a", "--force"},
        {"--bits", "6", "--bits"},
        {"--bits", "44", "--bits"},
        {"--scale-bits", "25", "1 to 24"},
        {"-t", "1025", "1 to"},
        {"-t", "", "1 to"},
        {"--report", "xml", "--report"},
        {"--scheme", "", "--scheme"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct command c;
        parse(&c, cases[i][0], cases[i][1], "a", "b", NULL);
        assert_int_equal(c.error, ENTRO_ERROR_ARGUMENT);
        assert_non_null(strstr(c.message.text, cases[i][2]));
    }
    struct command c;
    parse(&c, "a", "b", "--keep", NULL);
    assert_int_equal(c.error, ENTRO_ERROR_ARGUMENT);
    assert_non_null(strstr(c.message.text, "--keep"));
}

static void help_and_version_need_no_paths(void **state)
{
    (void)state;
    struct command c;
    parse(&c, "--help", NULL);
    assert_int_equal(c.error, ENTRO_OK);
    assert_int_equal(c.options.action, ENTRO_MKENTROFS_HELP);
    entro_mkentrofs_options_free(&c.options);
    parse(&c, "--version", "a", NULL);
    assert_int_equal(c.error, ENTRO_OK);
    assert_int_equal(c.options.action, ENTRO_MKENTROFS_VERSION);
    entro_mkentrofs_options_free(&c.options);
    parse(&c, "a", NULL);
    assert_int_equal(c.error, ENTRO_ERROR_ARGUMENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_balanced_with_five_and_a_half_bits),
        cmocka_unit_test(every_option_is_understood_before_and_after_the_paths),
        cmocka_unit_test(options_of_two_schemes_do_not_go_together),
        cmocka_unit_test(block_sizes_are_powers_of_two_with_or_without_a_unit),
        cmocka_unit_test(a_wrong_option_is_named),
        cmocka_unit_test(help_and_version_need_no_paths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
