/* What the parts of the byte-pair encoding share. */
#ifndef ENTRO_BPE_INTERNAL_H
#define ENTRO_BPE_INTERNAL_H

#include "runner/bpe.h"

/* NULL where the two ids do not merge. Neither is ENTRO_TOKEN_NONE. */
const struct entro_bpe_merge *entro_bpe_find_merge(const struct entro_bpe *bpe, uint32_t left,
                                                   uint32_t right);

/* Once before entro_bpe_cut, for this vocabulary. ENTRO_ERROR_NO_MEMORY. */
enum entro_error entro_bpe_prepare_cuts(const struct entro_bpe *bpe, struct entro_bpe_workspace *workspace,
                                        struct entro_message *message);
/* The first place at `at_least` (> 0) or later where the pre-token may be cut, or `size`. */
size_t entro_bpe_cut(const struct entro_bpe *bpe, const struct entro_bpe_workspace *workspace,
                     const char *text, size_t size, size_t at_least);

#endif
