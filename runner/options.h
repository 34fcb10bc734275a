/*
 * Command line options from one table: each row is an option's names, its argument, its help and where its
 * value goes.
 */
#ifndef ENTRO_RUNNER_OPTIONS_H
#define ENTRO_RUNNER_OPTIONS_H

#include <stddef.h>
#include <stdio.h>

#include "codec/error.h"

enum entro_option_kind {
    ENTRO_OPTION_HEADING, /* no option: `help` is a line between groups in the help */
    ENTRO_OPTION_SET,     /* bool *, set to true; takes no argument */
    ENTRO_OPTION_CLEAR,   /* bool *, set to false */
    ENTRO_OPTION_INTEGER, /* int64_t *, within smallest..largest */
    ENTRO_OPTION_NUMBER,  /* float *, within smallest..largest */
    ENTRO_OPTION_TEXT,    /* const char **, points into argv */
};

struct entro_option {
    enum entro_option_kind kind;
    const char *names;    /* "-n, --predict": separated by ", " */
    const char *argument; /* "N"; NULL where there is none */
    const char *help;     /* one or more lines, separated by newlines */
    void *target;
    double smallest, largest;
};

/*
 * Reads arguments 1..argc-1 into the targets; "--name value" and "--name=value" are the same.
 * ENTRO_ERROR_ARGUMENT with a message for an unknown option, a missing or bad value and anything that is no
 * option.
 */
enum entro_error entro_options_parse(const struct entro_option *options, size_t n_options, int argc,
                                     char **argv, struct entro_message *message);

/* Writes the table as help text. */
void entro_options_help(const struct entro_option *options, size_t n_options, FILE *out);

#endif
