/*
 * What an image holds, for people (a table) and for scripts (JSON). Reads the index only.
 */
#ifndef ENTRO_FS_DESCRIBE_H
#define ENTRO_FS_DESCRIBE_H

#include <stdio.h>

#include "codec/error.h"
#include "fs/namespace.h"

/* Both write to `out`, whose errors the caller looks for. ENTRO_ERROR_NO_MEMORY. */
enum entro_error entro_describe_text(const struct entro_namespace *names, const char *path, FILE *out);
enum entro_error entro_describe_json(const struct entro_namespace *names, const char *path, FILE *out);

#endif
