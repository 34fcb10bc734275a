/* What tokenizer_config.json adds to a tokenizer.model (sentencepiece_config.c). */
#ifndef ENTRO_SENTENCEPIECE_INTERNAL_H
#define ENTRO_SENTENCEPIECE_INTERNAL_H

#include "runner/tokenizer.h"

/* {0} at first: nothing is told. */
struct entro_sentencepiece_config {
    enum entro_vocab_choice add_bos;
    enum entro_vocab_choice add_eos;
    bool not_legacy; /* the space before a text is not put after an added token */
    struct entro_vocab_added *added;
    size_t n_added;
    struct json_t *json; /* what `added` points into */
};

/* ENTRO_ERROR_FORMAT, ENTRO_ERROR_NO_MEMORY. To be freed in any case. */
enum entro_error entro_sentencepiece_read_config(struct entro_sentencepiece_config *config, const char *text,
                                                 size_t size, struct entro_message *message);
void entro_sentencepiece_free_config(struct entro_sentencepiece_config *config);

#endif
