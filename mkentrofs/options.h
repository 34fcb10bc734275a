/*
 * The command line of mkentrofs: the options in one table beside their help.
 */
#ifndef ENTRO_MKENTROFS_OPTIONS_H
#define ENTRO_MKENTROFS_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "codec/error.h"
#include "mkentrofs/tensor_plan.h"

enum entro_mkentrofs_action {
    ENTRO_MKENTROFS_BUILD,
    ENTRO_MKENTROFS_PLAN,
    ENTRO_MKENTROFS_HELP,
    ENTRO_MKENTROFS_VERSION,
};

enum entro_report_form {
    ENTRO_REPORT_TABLE,
    ENTRO_REPORT_JSON,
};

/* Whether the action is about a model. */
bool entro_mkentrofs_has_source(enum entro_mkentrofs_action action);

/* Strings are argv's. */
struct entro_mkentrofs_options {
    enum entro_mkentrofs_action action;
    const char *source_path;
    const char *image_path; /* of a plan: of nothing */
    struct entro_plan_options plan;
    unsigned block_log2;
    unsigned n_threads;
    bool replace;
    bool quiet;
    enum entro_report_form report;
    const char *page_path; /* of the report as a page; NULL: none */
    size_t n_excludes;
    const char **keeps, **excludes; /* owned */
};

/*
 * Parses argv (without permuting what it points to being kept). ENTRO_ERROR_ARGUMENT with a message for a
 * person; _NO_MEMORY. The caller frees with entro_mkentrofs_options_free, on success only.
 */
enum entro_error entro_mkentrofs_options_parse(struct entro_mkentrofs_options *out, int argc, char **argv,
                                               struct entro_message *message);
void entro_mkentrofs_options_free(struct entro_mkentrofs_options *options);

/* What --help prints, and the two lines that a wrong usage gets. */
extern const char entro_mkentrofs_help[];
extern const char entro_mkentrofs_usage[];

#endif
