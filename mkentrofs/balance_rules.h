/*
 * Which tensors the balanced scheme treats in their own way, from what a model's tensors are for. Measured on
 * SmolLM2-135M: columns of equal RMS help linear layers and harm an output head, whose columns matter as the
 * final norm's weights say; embeddings and head are worth a finer step than the others. Linear layers whose
 * inputs are known (an importance matrix) get columns between balanced ones and what the inputs say: at 4.1
 * bits this takes the divergence from 0.117 to 0.080, while the inputs alone raise it to 0.131.
 */
#ifndef ENTRO_BALANCE_RULES_H
#define ENTRO_BALANCE_RULES_H

#include "codec/error.h"
#include "mkentrofs/balance_tensor.h"
#include "mkentrofs/importances.h"
#include "mkentrofs/monitor.h"
#include "mkentrofs/source.h"
#include "mkentrofs/tensor_plan.h"

/* Octaves by which the step of embedding and output head is finer. */
#define ENTRO_FINER_OCTAVES 1.0

struct entro_balance_rules {
    double *gamma; /* [n_gamma] magnitudes of the final norm's weights; NULL: not known. Owned */
    uint64_t n_gamma;
    const struct entro_source_tensor *head; /* the output head, or the embedding where it is that too */
    const struct entro_source_tensor *tied; /* the embedding where the head is stored again, else NULL: it
                                               gets the head's rule, so that their streams are one */
    struct entro_importances importances;   /* without entries where the options name none */
};

/* Finds head and final norm, reads the latter, compares head and embedding, and reads the importance matrix
 * of the options, which must be of this model; warns of tensors that it does not have. On success the caller
 * frees with entro_balance_rules_free. Errors of the source and of importances.h; _NO_MEMORY. */
enum entro_error entro_balance_rules_find(struct entro_balance_rules *out,
                                          const struct entro_source_tree *tree,
                                          const struct entro_plan_options *options,
                                          const struct entro_monitor *monitor, struct entro_message *message);
void entro_balance_rules_free(struct entro_balance_rules *rules);

/* The rule of one tensor; the caller frees rule->given. ENTRO_ERROR_NO_MEMORY. */
enum entro_error entro_balance_rule_of(struct entro_balance_rule *out,
                                       const struct entro_balance_rules *rules,
                                       const struct entro_source_tensor *tensor,
                                       struct entro_message *message);

#endif
