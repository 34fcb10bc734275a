/* What the files that read config.json share. */
#ifndef ENTRO_RUNNER_CONFIG_JSON_INTERNAL_H
#define ENTRO_RUNNER_CONFIG_JSON_INTERNAL_H

#include <jansson.h>

#include "runner/config_internal.h"

/* The parser's state: where values come from and where complaints go. */
struct entro_config_reader {
    json_t *root;
    const char *path;
    struct entro_message *message;
};

/* NULL also where the value is null: transformers writes null for "not set". */
json_t *entro_config_get(const json_t *object, const char *key);

/* Reads a count of at least 1; a missing one becomes `missing`, or an error where that is 0. */
enum entro_error entro_config_get_count(const struct entro_config_reader *reader, const char *key,
                                        size_t missing, size_t *out);

/* Reads a number; one that is missing in `object` becomes `missing`. */
enum entro_error entro_config_get_number(const struct entro_config_reader *reader, const json_t *object,
                                         const char *key, double missing, float *out);

/* Says that `value` of `key` is not supported. */
enum entro_error entro_config_unsupported(const struct entro_config_reader *reader, const char *key,
                                          const char *value);

/* The rotary embedding, in the spelling of transformers 4 (rope_theta, rope_scaling) and 5
 * (rope_parameters). */
enum entro_error entro_config_read_rope(const struct entro_config_reader *reader, struct entro_config *out);

/* Which layers have a window, and how wide. n_layers has been checked. */
enum entro_error entro_config_read_windows(const struct entro_config_reader *reader,
                                           struct entro_config *out);

#endif
