/* Input: four bytes, how much longer the file is than what is at hand of it; then the file's first bytes. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "codec/bytes.h"
#include "codec/models/gguf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

/* Reads every value, so that a sanitizer sees one that does not lie in the header. */
static void read_pair(const struct entro_gguf_pair *pair)
{
    int64_t integer;
    double number;
    struct entro_gguf_string text;
    uint64_t sum = 0;
    entro_gguf_integer(pair, &integer);
    entro_gguf_number(pair, &number);
    if (entro_gguf_text(pair, &text))
        for (size_t i = 0; i < text.size_bytes; i++)
            sum += (uint8_t)text.text[i];
    if (pair->type == ENTRO_GGUF_ARRAY) {
        size_t n = (size_t)pair->n_elements;
        struct entro_gguf_string *texts = calloc(n + 1, sizeof *texts);
        int64_t *integers = calloc(n + 1, sizeof *integers);
        double *numbers = calloc(n + 1, sizeof *numbers);
        require(texts != NULL && integers != NULL && numbers != NULL);
        entro_gguf_integers(pair, integers);
        entro_gguf_numbers(pair, numbers);
        if (entro_gguf_strings(pair, texts))
            for (size_t i = 0; i < n; i++)
                for (size_t k = 0; k < texts[i].size_bytes; k++)
                    sum += (uint8_t)texts[i].text[k];
        free(texts);
        free(integers);
        free(numbers);
    }
    volatile uint64_t sink = sum;
    (void)sink;
}

/* What an accepted header promises, and that rewriting it without a change gives it back. */
static void check(const struct entro_gguf *gguf)
{
    enum entro_dtype *dtypes = calloc(gguf->n_tensors + 1, sizeof *dtypes);
    uint64_t *offsets = calloc(gguf->n_tensors + 1, sizeof *offsets);
    require(dtypes != NULL && offsets != NULL);
    uint64_t end = gguf->data_offset;
    for (size_t i = 0; i < gguf->n_tensors; i++) {
        const struct entro_model_tensor *tensor = &gguf->tensors[i];
        require(tensor->offset >= end && (tensor->offset - gguf->data_offset) % gguf->alignment == 0);
        end = tensor->offset + tensor->size_bytes;
        require(end <= gguf->file_size_bytes);
        dtypes[i] = tensor->dtype;
    }
    uint8_t *header;
    size_t header_bytes;
    uint64_t file_bytes;
    struct entro_message message;
    require(entro_gguf_rewrite(gguf, dtypes, -1, &header, &header_bytes, offsets, &file_bytes, &message) ==
            ENTRO_OK);
    require(header_bytes == gguf->data_offset && memcmp(header, gguf->header, header_bytes) == 0);
    require(file_bytes == gguf->file_size_bytes);
    free(header);
    free(offsets);
    free(dtypes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 4)
        return 0;
    struct entro_gguf gguf;
    struct entro_message message;
    size_t n_at_hand = size - 4;
    uint64_t file_size_bytes = n_at_hand + (uint64_t)entro_load_u32(data);
    if (entro_gguf_parse(&gguf, data + 4, n_at_hand, file_size_bytes, "fuzz", &message) == ENTRO_OK) {
        for (size_t i = 0; i < gguf.n_pairs; i++)
            read_pair(&gguf.pairs[i]);
        check(&gguf);
        entro_gguf_free(&gguf);
    }
    if (entro_gguf_parse(&gguf, data + 4, n_at_hand / 2, file_size_bytes, "fuzz", &message) == ENTRO_OK)
        entro_gguf_free(&gguf);
    return 0;
}
