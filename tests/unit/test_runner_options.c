/* Command lines: every kind of option, both spellings of a value, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "runner/options.h"

struct targets {
    const char *model;
    int64_t n_predict;
    float temperature;
    bool ignore, chat;
};

static enum entro_error parse(struct targets *targets, const char *const *arguments,
                              struct entro_message *message)
{
    const struct entro_option options[] = {
        {ENTRO_OPTION_HEADING, NULL, NULL, "heading", NULL, 0, 0},
        {ENTRO_OPTION_TEXT, "-m, --model", "DIR", "help", &targets->model, 0, 0},
        {ENTRO_OPTION_INTEGER, "-n, --predict, --n-predict", "N", "help", &targets->n_predict, -1, 1000},
        {ENTRO_OPTION_NUMBER, "--temp", "T", "help", &targets->temperature, 0, 10},
        {ENTRO_OPTION_SET, "--ignore-eos", NULL, "help", &targets->ignore, 0, 0},
        {ENTRO_OPTION_CLEAR, "--no-chat, -no-cnv", NULL, "two\nlines", &targets->chat, 0, 0},
    };
    char *argv[16] = {"run"};
    int argc = 1;
    *targets = (struct targets){.n_predict = -2, .chat = true};
    for (; arguments[argc - 1] != NULL; argc++)
        argv[argc] = (char *)(uintptr_t)arguments[argc - 1];
    return entro_options_parse(options, sizeof options / sizeof options[0], argc, argv, message);
}

static void every_kind_of_option_is_read(void **state)
{
    (void)state;
    struct targets targets;
    struct entro_message message;
    const char *const arguments[] = {"-m",  "dir",          "--n-predict=7", "--temp",
                                     "0.5", "--ignore-eos", "-no-cnv",       NULL};
    assert_int_equal(parse(&targets, arguments, &message), ENTRO_OK);
    assert_string_equal(targets.model, "dir");
    assert_int_equal(targets.n_predict, 7);
    assert_true(targets.temperature == 0.5F);
    assert_true(targets.ignore);
    assert_false(targets.chat);
}

static void a_value_may_look_like_an_option(void **state)
{
    (void)state;
    struct targets targets;
    struct entro_message message;
    const char *const arguments[] = {"-m", "--temp", "-n", "-1", "--model=a=b", NULL};
    assert_int_equal(parse(&targets, arguments, &message), ENTRO_OK);
    assert_string_equal(targets.model, "a=b");
    assert_int_equal(targets.n_predict, -1);
}

static void bad_command_lines_are_refused(void **state)
{
    (void)state;
    static const char *const cases[][4] = {
        {"--frob", NULL},
        {"word", NULL},
        {"-m", NULL},
        {"-n", "x", NULL},
        {"-n", "7x", NULL},
        {"-n", "", NULL},
        {"-n", "1001", NULL},
        {"-n", "-2", NULL},
        {"--temp", "nan", NULL},
        {"--temp", "-1", NULL},
        {"--temp=", NULL},
        {"--ignore-eos=1", NULL},
        {"--mode", "x", NULL},
        {"-", NULL},
        {"", NULL},
        {"-n", "99999999999999999999", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct targets targets;
        struct entro_message message = {.text = ""};
        assert_int_equal(parse(&targets, cases[i], &message), ENTRO_ERROR_ARGUMENT);
        assert_true(strlen(message.text) > 5);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_option_is_read),
        cmocka_unit_test(a_value_may_look_like_an_option),
        cmocka_unit_test(bad_command_lines_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
