/*
 * A tokenizer from a tokenizer.model, the file of the SentencePiece library, for models that have no
 * tokenizer.json. Pieces that byte-pair encoding found ("BPE") are read; other kinds are refused by name.
 * What is done with the pieces is tokenizer_vocab.c's.
 */
#ifndef ENTRO_SENTENCEPIECE_H
#define ENTRO_SENTENCEPIECE_H

#include "runner/tokenizer.h"

/* A larger file is refused, in bytes. */
#define ENTRO_SENTENCEPIECE_LIMIT ((size_t)64 << 20)

/*
 * The ids are those that the Hugging Face library gives after converting the file. `config` is the text of
 * tokenizer_config.json, NULL where there is none: it tells of tokens added to the vocabulary and whether BOS
 * and EOS go around a text (else: BOS does). The caller owns *out, NULL on failure: ENTRO_ERROR_FORMAT,
 * ENTRO_ERROR_UNSUPPORTED, ENTRO_ERROR_NO_MEMORY.
 */
enum entro_error entro_tokenizer_from_sentencepiece(struct entro_tokenizer **out, const char *bytes,
                                                    size_t size, const char *config, size_t config_size,
                                                    struct entro_message *message);

#endif
