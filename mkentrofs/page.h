/*
 * The page of --report FILE.html: one file without scripts, fonts or anything else from outside, that shows
 * where the bytes of a build went.
 */
#ifndef ENTRO_PAGE_H
#define ENTRO_PAGE_H

#include <stdbool.h>

#include "codec/error.h"
#include "mkentrofs/plan.h"
#include "mkentrofs/report.h"

/*
 * Writes the page to `path`, whole or not at all; the build has counted its codes. ENTRO_ERROR_EXISTS where
 * path exists and !replace, _ARGUMENT, _IO, _NO_MEMORY.
 */
enum entro_error entro_page_write(const char *path, bool replace, const struct entro_report *report,
                                  struct entro_message *message);

/* The page of a plan: bits against SNR. */
enum entro_error entro_plan_page_write(const char *path, bool replace, const char *source_path,
                                       const struct entro_plan *plan, struct entro_message *message);

#endif
