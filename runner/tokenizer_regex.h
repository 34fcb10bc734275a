/*
 * Regular expressions for splitting and replacing. The patterns come from tokenizer.json, where they are
 * written for Oniguruma (Ruby's syntax); they are translated to PCRE2, and what the two read differently is
 * refused.
 */
#ifndef ENTRO_TOKENIZER_REGEX_H
#define ENTRO_TOKENIZER_REGEX_H

#include "codec/error.h"

#include <stdbool.h>
#include <stddef.h>

struct entro_regex;
/* What one thread needs to match; serves any number of expressions. */
struct entro_regex_workspace;

/* Compiles `pattern`, well-formed UTF-8; `literal`: it means just its characters. The result is constant,
 * thread-safe, and the caller's to free. ENTRO_ERROR_FORMAT (not a regular expression, too long),
 * ENTRO_ERROR_UNSUPPORTED, ENTRO_ERROR_NO_MEMORY. */
enum entro_error entro_regex_compile(struct entro_regex **out, const char *pattern, size_t size, bool literal,
                                     struct entro_message *message);
/* NULL is fine. */
void entro_regex_free(struct entro_regex *regex);

/* ENTRO_ERROR_NO_MEMORY. */
enum entro_error entro_regex_workspace_create(struct entro_regex_workspace **out,
                                              struct entro_message *message);
/* NULL is fine. */
void entro_regex_workspace_destroy(struct entro_regex_workspace *workspace);

/* The leftmost match in the well-formed UTF-8 `text` that starts at `from` or later; look-behind sees what is
 * before. *found false: none. ENTRO_ERROR_UNSUPPORTED where the expression takes too long. */
enum entro_error entro_regex_next(const struct entro_regex *regex, struct entro_regex_workspace *workspace,
                                  const char *text, size_t size, size_t from, bool *found, size_t *start,
                                  size_t *end, struct entro_message *message);

#endif
