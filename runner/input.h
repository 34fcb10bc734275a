/* The text that a command works on: an argument, a file, or standard input. */
#ifndef ENTRO_RUNNER_INPUT_H
#define ENTRO_RUNNER_INPUT_H

#include <stdbool.h>

#include "codec/error.h"
#include "runner/tokenizer_text.h"

/*
 * Appends the text: `argument` as it is, or what `file` holds ("-": standard input). Exactly one of them must
 * be given. Texts longer than ENTRO_TOKENIZER_TEXT_LIMIT are refused. ENTRO_ERROR_ARGUMENT, _IO, _NO_MEMORY.
 */
enum entro_error entro_input_read(const char *argument, const char *file, struct entro_text *text,
                                  struct entro_message *message);

/* Takes a last newline away, as llama.cpp does with prompts from files. */
void entro_input_strip_newline(struct entro_text *text);

/* \n, \r, \t, \', \" and \\ become what they stand for, in place. */
void entro_input_unescape(struct entro_text *text);

#endif
