/* What the files that read tokenizer.json share: typed access to JSON with messages, and one reader for each
 * component. */
#ifndef ENTRO_TOKENIZER_JSON_INTERNAL_H
#define ENTRO_TOKENIZER_JSON_INTERNAL_H

#include "runner/tokenizer_internal.h"

#include <jansson.h>

/* A member of `object` (which is an object); absent and null both leave the default. ENTRO_ERROR_FORMAT:
 * another type. `what` names the object in the message. */
enum entro_error entro_json_bool(const json_t *object, const char *what, const char *name, bool *value,
                                 struct entro_message *message);
/* *text NULL where absent or null; else *size bytes, owned by the JSON. */
enum entro_error entro_json_string(const json_t *object, const char *what, const char *name,
                                   const char **text, size_t *size, struct entro_message *message);
/* The same, but it must be there. */
enum entro_error entro_json_need_string(const json_t *object, const char *what, const char *name,
                                        const char **text, size_t *size, struct entro_message *message);
/* And is one character. */
enum entro_error entro_json_need_character(const json_t *object, const char *what, const char *name,
                                           const char **text, size_t *size, struct entro_message *message);
/* An integer from 0 to `limit` that must be there. */
enum entro_error entro_json_need_integer(const json_t *object, const char *what, const char *name,
                                         uint64_t limit, uint64_t *value, struct entro_message *message);

/* Each takes the component's JSON, which may be NULL or null: there is none. Errors as of
 * entro_tokenizer_from_json. */
enum entro_error entro_json_read_normalizer(struct entro_steps *steps, const json_t *json,
                                            struct entro_message *message);
enum entro_error entro_json_read_pre_tokenizer(struct entro_steps *steps, const json_t *json,
                                               struct entro_message *message);
enum entro_error entro_json_read_post_processor(struct entro_tokenizer *tokenizer, const json_t *json,
                                                struct entro_message *message);
enum entro_error entro_json_read_decoder(struct entro_decoding *decoding, const json_t *json,
                                         struct entro_message *message);

/* For components: the members of a Sequence, each given to `read`. `depth` counts nested ones. */
typedef enum entro_error (*entro_json_reader)(void *context, const json_t *json, unsigned depth,
                                              struct entro_message *message);
enum entro_error entro_json_read_sequence(const json_t *json, const char *what, const char *name,
                                          entro_json_reader read, void *context, unsigned depth,
                                          struct entro_message *message);
/* Compiles a pattern {"String": ...} or {"Regex": ...}: the text and which. */
enum entro_error entro_json_pattern(const json_t *json, const char *what, const char **text, size_t *size,
                                    bool *literal, struct entro_message *message);

#endif
