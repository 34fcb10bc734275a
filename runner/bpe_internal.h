/* What the two halves of the byte-pair encoding share. */
#ifndef ENTRO_BPE_INTERNAL_H
#define ENTRO_BPE_INTERNAL_H

#include "runner/bpe.h"

/* NULL where the two ids do not merge. Neither is ENTRO_TOKEN_NONE. */
const struct entro_bpe_merge *entro_bpe_find_merge(const struct entro_bpe *bpe, uint32_t left,
                                                   uint32_t right);

#endif
