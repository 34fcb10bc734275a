/* By the names of tensors; see balance_rules.h. */
#include "mkentrofs/balance_rules.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "codec/ggml_blocks.h"
#include "codec/models/tensor_roles.h"
#include "mkentrofs/rows.h"
#include "mkentrofs/same_weights.h"
#include "mkentrofs/weights.h"

/* A weight of the final norm near 0 would make its column's factor endless. */
#define MIN_GAMMA_SHARE 0x1p-6

/* A model's config.json has some kilobytes; what is parsed takes many times a file's size. */
#define CONFIG_MAX_BYTES ((uint64_t)1 << 20)

static bool has_role(const struct entro_source_tensor *tensor, enum entro_tensor_role role)
{
    struct entro_tensor_place place;
    return entro_tensor_place(tensor->name, &place) && place.role == role;
}

static const struct entro_source_tensor *
find_role(const struct entro_source_tree *tree, enum entro_tensor_role role, const struct entro_part **part)
{
    for (size_t i = 0; i < tree->n_parts; i++)
        for (size_t j = 0; j < tree->parts[i].n_tensors; j++)
            if (has_role(&tree->parts[i].tensors[j], role)) {
                *part = &tree->parts[i];
                return &tree->parts[i].tensors[j];
            }
    return NULL;
}

/* Norms of these multiply by 1 more than what a checkpoint of Hugging Face holds (GGUF files hold all). */
static bool is_norm_less_one(const char *model_type)
{
    static const char *const types[] = {
        "gemma",      "gemma2",  "gemma3",       "gemma3_text", "recurrent_gemma",  "vaultgemma",
        "qwen3_next", "qwen3_5", "qwen3_5_text", "qwen3_5_moe", "qwen3_5_moe_text",
    };
    for (size_t i = 0; model_type && i < sizeof types / sizeof *types; i++)
        if (strcmp(model_type, types[i]) == 0)
            return true;
    return false;
}

static bool norms_hold_less_one(const struct entro_source_tree *tree)
{
    bool less = false;
    for (size_t i = 0; i < tree->n_parts && tree->kind == ENTRO_SOURCE_SAFETENSORS; i++) {
        if (strcmp(tree->parts[i].path, "config.json") != 0 ||
            tree->parts[i].identity.size_bytes > CONFIG_MAX_BYTES)
            continue;
        json_t *config = json_load_file(tree->parts[i].source_path, 0, NULL);
        const json_t *text = json_object_get(config, "text_config"); /* PaliGemma's is another type */
        less = is_norm_less_one(json_string_value(json_object_get(config, "model_type"))) ||
               is_norm_less_one(json_string_value(json_object_get(text, "model_type")));
        json_decref(config);
    }
    return less;
}

static enum entro_error read_gamma(struct entro_balance_rules *rules, const struct entro_source_tensor *norm,
                                   const struct entro_part *part, double more,
                                   const struct entro_monitor *monitor, struct entro_message *message)
{
    struct entro_input input;
    enum entro_error error = entro_input_open(&input, part->source_path, &part->identity, monitor, message);
    if (error)
        return error;
    struct entro_weights *weights = malloc(sizeof *weights);
    size_t n = (size_t)norm->n_elements;
    rules->gamma = calloc(n, sizeof *rules->gamma);
    if (!weights || !rules->gamma) {
        error = entro_fail(message, ENTRO_ERROR_NO_MEMORY, "out of memory");
        goto clean_up;
    }
    if ((error = entro_weights_read(&input, norm, 0, n, weights, message)))
        goto clean_up;
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += rules->gamma[i] = fabs((double)weights->values[i] + more);
    for (size_t i = 0; i < n; i++)
        rules->gamma[i] = fmax(rules->gamma[i], MIN_GAMMA_SHARE * sum / (double)n);
    if (isfinite(sum) && sum > 0)
        rules->n_gamma = n;

clean_up:
    free(weights);
    entro_input_close(&input);
    return error;
}

/* Rows of an embedding are looked up one by one: nothing is known of its columns. */
static bool is_embedding(const struct entro_source_tensor *tensor)
{
    static const char *const parts[] = {
        "embeddings.",
        "embed_tokens.",
        "embed_tokens_per_layer.",
        "embed_positions.",
        "token_embedding.",
        "position_embedding.",
        "wpe.",
        "wte.",
        "embed_in.",
        "position_embd.",
        "per_layer_token_embd.",
    };
    if (has_role(tensor, ENTRO_TENSOR_EMBEDDING))
        return true;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        const char *at = strstr(tensor->name, parts[i]);
        if (at != NULL && (at == tensor->name || at[-1] == '.' || at[-1] == '_'))
            return true;
    }
    return false;
}

static bool is_linear(const struct entro_balance_rules *rules, const struct entro_source_tensor *tensor)
{
    return tensor != rules->head && !is_embedding(tensor);
}

static enum entro_error find_gamma(struct entro_balance_rules *rules, const struct entro_source_tree *tree,
                                   const struct entro_monitor *monitor, struct entro_message *message)
{
    const struct entro_part *part;
    const struct entro_source_tensor *norm = find_role(tree, ENTRO_TENSOR_FINAL_NORM, &part);
    if (!norm || norm->rank != 1 || norm->n_elements == 0 || norm->n_elements > ENTRO_WEIGHTS_AT_ONCE ||
        !entro_can_dequantize(norm->dtype))
        return ENTRO_OK;
    return read_gamma(rules, norm, part, norms_hold_less_one(tree) ? 1 : 0, monitor, message);
}

static enum entro_error find_importances(struct entro_balance_rules *rules,
                                         const struct entro_source_tree *tree,
                                         const struct entro_plan_options *options,
                                         const struct entro_monitor *monitor, struct entro_message *message)
{
    enum entro_error error = entro_importances_open(&rules->importances, options->imatrix_path, message);
    struct entro_importances_check check = {.importances = &rules->importances};
    for (size_t i = 0; i < tree->n_parts && !error; i++)
        for (size_t j = 0; j < tree->parts[i].n_tensors && !error; j++) {
            const struct entro_source_tensor *tensor = &tree->parts[i].tensors[j];
            if (entro_tensor_plan(options, tensor).treatment == ENTRO_TREATMENT_BALANCED &&
                is_linear(rules, tensor))
                error = entro_importances_check_tensor(&check, tensor, message);
        }
    return error ? error : entro_importances_check_end(&check, monitor, message);
}

static enum entro_error find_head(struct entro_balance_rules *rules, const struct entro_source_tree *tree,
                                  const struct entro_plan_options *options,
                                  const struct entro_monitor *monitor, struct entro_message *message)
{
    struct entro_placed_tensor head = {0}, embedding = {0};
    head.tensor = find_role(tree, ENTRO_TENSOR_OUTPUT, &head.part);
    embedding.tensor = find_role(tree, ENTRO_TENSOR_EMBEDDING, &embedding.part);
    rules->head = head.tensor ? head.tensor : embedding.tensor;
    /* Where one of them is kept, they have nothing in common. */
    if (!head.tensor || !embedding.tensor ||
        entro_tensor_plan(options, head.tensor).treatment != ENTRO_TREATMENT_BALANCED ||
        entro_tensor_plan(options, embedding.tensor).treatment != ENTRO_TREATMENT_BALANCED)
        return ENTRO_OK;
    bool same;
    enum entro_error error = entro_same_weights(&same, &head, &embedding, monitor, message);
    if (!error && same)
        rules->tied = embedding.tensor;
    return error;
}

enum entro_error entro_balance_rules_find(struct entro_balance_rules *out,
                                          const struct entro_source_tree *tree,
                                          const struct entro_plan_options *options,
                                          const struct entro_monitor *monitor, struct entro_message *message)
{
    *out = (struct entro_balance_rules){0};
    enum entro_error error = find_head(out, tree, options, monitor, message);
    if (!error)
        error = find_gamma(out, tree, monitor, message);
    if (!error && options->imatrix_path)
        error = find_importances(out, tree, options, monitor, message);
    if (error)
        entro_balance_rules_free(out);
    return error;
}

void entro_balance_rules_free(struct entro_balance_rules *rules)
{
    free(rules->gamma);
    entro_importances_free(&rules->importances);
    *rules = (struct entro_balance_rules){0};
}

static enum entro_error linear_rule(struct entro_balance_rule *out, const struct entro_balance_rules *rules,
                                    const struct entro_source_tensor *tensor, struct entro_message *message)
{
    const struct entro_imatrix_entry *entry = entro_importances_of(&rules->importances, tensor);
    if (!entry)
        return ENTRO_OK;
    out->given = calloc(entry->n_columns, sizeof *out->given);
    if (!out->given)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "out of memory");
    out->columns = ENTRO_COLUMNS_TEMPERED;
    out->inputs = entro_importances_inputs(&rules->importances, tensor);
    entro_importances_columns(entry, out->given);
    return ENTRO_OK;
}

enum entro_error entro_balance_rule_of(struct entro_balance_rule *out,
                                       const struct entro_balance_rules *rules,
                                       const struct entro_source_tensor *tensor,
                                       struct entro_message *message)
{
    *out = (struct entro_balance_rule){.columns = ENTRO_COLUMNS_BALANCED};
    if (is_linear(rules, tensor))
        return linear_rule(out, rules, tensor, message);
    out->columns = ENTRO_COLUMNS_PLAIN;
    out->finer_octaves = ENTRO_FINER_OCTAVES;
    uint64_t n_columns = entro_tensor_columns(tensor);
    bool is_head = tensor == rules->head || tensor == rules->tied;
    if (!is_head || rules->n_gamma != n_columns)
        return ENTRO_OK;
    out->given = calloc((size_t)n_columns, sizeof *out->given);
    if (!out->given)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "out of memory");
    out->columns = ENTRO_COLUMNS_GIVEN;
    for (uint64_t i = 0; i < n_columns; i++)
        out->given[i] = 1 / rules->gamma[i];
    return ENTRO_OK;
}
