/*
 * What a build came to: a table for people and JSON for programs.
 */
#ifndef ENTRO_REPORT_H
#define ENTRO_REPORT_H

#include <stdio.h>

#include "codec/error.h"
#include "mkentrofs/build.h"
#include "mkentrofs/source.h"

struct entro_report {
    const char *source_path, *image_path;
    const struct entro_source_tree *tree;
    const struct entro_build_options *options;
    const struct entro_build_result *result;
    unsigned n_threads;
    double seconds;
};

/* Both leave the stream's error flag for the caller to look at. */
void entro_report_table(FILE *stream, const struct entro_report *report);

/* ENTRO_ERROR_NO_MEMORY: nothing was written. */
enum entro_error entro_report_json(FILE *stream, const struct entro_report *report);

#endif
