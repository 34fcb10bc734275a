/* Parsing of options by a table; see options.h. */
#include "runner/options.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Column at which help texts start. */
#define HELP_COLUMN 34

/* Whether one of the comma-separated names is the argument's first n characters. */
static bool has_name(const char *names, const char *argument, size_t n)
{
    for (const char *name = names; name != NULL;) {
        const char *end = strchr(name, ',');
        size_t length = end == NULL ? strlen(name) : (size_t)(end - name);
        if (length == n && memcmp(name, argument, n) == 0)
            return true;
        name = end == NULL ? NULL : end + 2;
    }
    return false;
}

static const struct entro_option *find(const struct entro_option *options, size_t n_options,
                                       const char *argument, size_t n)
{
    for (size_t i = 0; i < n_options; i++)
        if (options[i].kind != ENTRO_OPTION_HEADING && has_name(options[i].names, argument, n))
            return &options[i];
    return NULL;
}

static enum entro_error bad_value(const struct entro_option *option, const char *value,
                                  struct entro_message *message)
{
    return entro_fail(message, ENTRO_ERROR_ARGUMENT, "%s: \"%s\" is not a number from %.10g to %.10g",
                      option->names, value, option->smallest, option->largest);
}

static enum entro_error set_value(const struct entro_option *option, const char *value,
                                  struct entro_message *message)
{
    char *end;
    errno = 0;
    if (option->kind == ENTRO_OPTION_TEXT) {
        *(const char **)option->target = value;
    } else if (option->kind == ENTRO_OPTION_NUMBER) {
        double number = strtod(value, &end);
        if (end == value || *end != '\0' || !(number >= option->smallest && number <= option->largest))
            return bad_value(option, value, message);
        *(float *)option->target = (float)number;
    } else {
        long long number = strtoll(value, &end, 10);
        if (end == value || *end != '\0' || errno != 0 || (double)number < option->smallest ||
            (double)number > option->largest)
            return bad_value(option, value, message);
        *(int64_t *)option->target = number;
    }
    return ENTRO_OK;
}

enum entro_error entro_options_parse(const struct entro_option *options, size_t n_options, int argc,
                                     char **argv, struct entro_message *message)
{
    for (int i = 1; i < argc; i++) {
        const char *argument = argv[i];
        const char *value = strncmp(argument, "--", 2) == 0 ? strchr(argument, '=') : NULL;
        size_t n = value == NULL ? strlen(argument) : (size_t)(value++ - argument);
        const struct entro_option *option = find(options, n_options, argument, n);
        if (option == NULL)
            return entro_fail(message, ENTRO_ERROR_ARGUMENT, "%s \"%s\"; --help lists the options",
                              argument[0] == '-' ? "there is no option" : "not an option:", argument);
        if (option->argument == NULL) {
            if (value != NULL)
                return entro_fail(message, ENTRO_ERROR_ARGUMENT, "%s takes no value", option->names);
            *(bool *)option->target = option->kind == ENTRO_OPTION_SET;
            continue;
        }
        if (value == NULL && i + 1 == argc)
            return entro_fail(message, ENTRO_ERROR_ARGUMENT, "%s: %s is missing", option->names,
                              option->argument);
        enum entro_error error = set_value(option, value == NULL ? argv[++i] : value, message);
        if (error != ENTRO_OK)
            return error;
    }
    return ENTRO_OK;
}

void entro_options_help(const struct entro_option *options, size_t n_options, FILE *out)
{
    for (size_t i = 0; i < n_options; i++) {
        const struct entro_option *option = &options[i];
        if (option->kind == ENTRO_OPTION_HEADING) {
            fprintf(out, "\n%s:\n", option->help);
            continue;
        }
        int column = fprintf(out, "  %s%s%s", option->names, option->argument == NULL ? "" : " ",
                             option->argument == NULL ? "" : option->argument);
        for (const char *line = option->help; line != NULL;) {
            const char *end = strchr(line, '\n');
            int length = end == NULL ? (int)strlen(line) : (int)(end - line);
            if (column >= HELP_COLUMN) {
                fputc('\n', out);
                column = 0;
            }
            fprintf(out, "%*s%.*s\n", HELP_COLUMN - column, "", length, line);
            column = 0;
            line = end == NULL ? NULL : end + 1;
        }
    }
}
