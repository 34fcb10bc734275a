/*
 * Synthetic models on the GPU: logits against the CPU backend (`check`), and how fast a model of Mistral-7B's
 * shape loads and runs (`bench [u8|u4]`). Needs nothing but this repository and the C library, so that it
 * builds on a bare GPU machine (tests/gpu.sh); with the emulator as its GPU, `check` is a test.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/half.h"
#include "runner/backend_cuda.h"
#include "runner/clock.h"
#include "runner/sampler.h"
#include "tests/unit/logits_difference.h"

static uint64_t random_state = 7;

static uint32_t random_u32(void)
{
    uint64_t z = random_state += 0x9e3779b97f4a7c15U;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9U;
    z = (z ^ z >> 27) * 0x94d049bb133111ebU;
    return (uint32_t)(z >> 32);
}

/* -1 .. 1 */
static float random_float(void)
{
    return (float)(int32_t)random_u32() * 0x1p-31F;
}

static void *allocate(size_t n, size_t size)
{
    void *p = calloc(n + 1, size);
    if (p == NULL) {
        fprintf(stderr, "no memory for %zu elements\n", n);
        exit(1);
    }
    return p;
}

/* What models are made of, until they have been used. */
#define MAX_KEPT 8192
static void *kept[MAX_KEPT];
static size_t n_kept;

static void *keep(size_t n, size_t size)
{
    if (n_kept == MAX_KEPT) {
        fprintf(stderr, "too many parts of a model\n");
        exit(1);
    }
    return kept[n_kept++] = allocate(n, size);
}

static void free_kept(void)
{
    while (n_kept > 0)
        free(kept[--n_kept]);
}

static float *random_vector(size_t n, float offset, float size)
{
    float *v = keep(n, sizeof *v);
    for (size_t i = 0; i < n; i++)
        v[i] = offset + size * random_float();
    return v;
}

/* What a model is made of. */
struct shape {
    const char *name;
    enum entro_matrix_encoding encoding;
    bool factors; /* of rows and columns, and outliers */
    enum entro_dtype dtype;
    size_t n_layers, n_hidden, n_intermediate, n_heads, n_kv_heads, head_dim, n_vocabulary, window;
    bool fused, bias, qk_norm, post_norms, gelu, interleaved, tied;
    const uint8_t *shared; /* random bytes that all matrices borrow; NULL: each has its own */
};

static void fill_matrix(struct entro_matrix *m, const struct shape *shape)
{
    size_t n = m->n_rows * m->n_columns;
    size_t size_bytes = m->encoding == ENTRO_MATRIX_U8   ? n
                        : m->encoding == ENTRO_MATRIX_U4 ? n / 2 + n % 2
                                                         : n * (m->dtype == ENTRO_DTYPE_F32 ? 4 : 2);
    float size = 1.0F / sqrtf((float)m->n_columns);
    m->data = shape->shared;
    if (shape->shared == NULL) {
        uint8_t *data = keep(size_bytes, 1);
        for (size_t i = 0; i < size_bytes; i++)
            data[i] = (uint8_t)random_u32();
        for (size_t i = 0; m->encoding == ENTRO_MATRIX_DTYPE && i < n; i++) {
            float x = 2 * size * random_float();
            if (m->dtype == ENTRO_DTYPE_F32)
                entro_store_u32(data + 4 * i, entro_f32_bits(x));
            else
                entro_store_u16(data + 2 * i,
                                m->dtype == ENTRO_DTYPE_F16 ? entro_f32_to_f16(x) : entro_f32_to_bf16(x));
        }
        m->data = data;
    }
    if (m->encoding == ENTRO_MATRIX_DTYPE)
        return;
    m->scale = size / (m->encoding == ENTRO_MATRIX_U8 ? 73.0F : 4.6F);
    m->zero_point = m->encoding == ENTRO_MATRIX_U8 ? 127 : 7.5F;
    if (!shape->factors)
        return;
    m->row_scale = random_vector(m->n_rows, 1, 0.5F);
    m->column_scale = random_vector(m->n_columns, 1, 0.5F);
    uint8_t *outliers = keep(n / 100 + 1, ENTRO_OUTLIER_BYTES);
    for (size_t i = random_u32() % 100; i < n; i += 100) {
        uint8_t *record = outliers + m->n_outliers++ * ENTRO_OUTLIER_BYTES;
        entro_store_u64(record, i);
        entro_store_u32(record + 8, entro_f32_bits(4 * size * random_float()));
    }
    m->outliers = outliers;
}

static struct entro_matrix make_matrix(const struct shape *shape, size_t n_rows, size_t n_columns)
{
    struct entro_matrix m = {.name = "synthetic",
                             .n_rows = n_rows,
                             .n_columns = n_columns,
                             .encoding = shape->encoding,
                             .dtype = shape->dtype};
    fill_matrix(&m, shape);
    return m;
}

struct model {
    struct entro_architecture architecture;
    struct entro_config config;
    struct entro_weights weights;
};

static void make_layer(struct entro_layer_weights *layer, const struct shape *s)
{
    size_t n_query = s->n_heads * s->head_dim, n_kv = s->n_kv_heads * s->head_dim;
    layer->attention_norm = random_vector(s->n_hidden, 1, 0.3F);
    layer->mlp_norm = random_vector(s->n_hidden, 1, 0.3F);
    layer->post_attention_norm = s->post_norms ? random_vector(s->n_hidden, 0.5F, 0.3F) : NULL;
    layer->post_mlp_norm = s->post_norms ? random_vector(s->n_hidden, 0.5F, 0.3F) : NULL;
    layer->qkv_bias = s->bias ? random_vector(n_query + 2 * n_kv, 0, 0.3F) : NULL;
    layer->query_norm = s->qk_norm ? random_vector(s->head_dim, 1, 0.3F) : NULL;
    layer->key_norm = s->qk_norm ? random_vector(s->head_dim, 1, 0.3F) : NULL;
    layer->n_qkv = s->fused ? 1 : 3;
    layer->n_gate_up = s->fused ? 1 : 2;
    layer->qkv[0] = make_matrix(s, s->fused ? n_query + 2 * n_kv : n_query, s->n_hidden);
    layer->gate_up[0] = make_matrix(s, s->fused ? 2 * s->n_intermediate : s->n_intermediate, s->n_hidden);
    if (!s->fused) {
        layer->qkv[1] = make_matrix(s, n_kv, s->n_hidden);
        layer->qkv[2] = make_matrix(s, n_kv, s->n_hidden);
        layer->gate_up[1] = make_matrix(s, s->n_intermediate, s->n_hidden);
    }
    layer->attention_output = make_matrix(s, s->n_hidden, n_query);
    layer->down = make_matrix(s, s->n_hidden, s->n_intermediate);
}

/* Never freed: the program ends with it. */
static struct model *make_model(const struct shape *s)
{
    struct model *model = keep(1, sizeof *model);
    model->architecture = (struct entro_architecture){
        .name = "synthetic", .activation = s->gelu ? ENTRO_ACTIVATION_GELU_TANH : ENTRO_ACTIVATION_SILU};
    model->config = (struct entro_config){.architecture = &model->architecture,
                                          .rope_interleaved = s->interleaved,
                                          .n_layers = s->n_layers,
                                          .n_hidden = s->n_hidden,
                                          .n_intermediate = s->n_intermediate,
                                          .n_heads = s->n_heads,
                                          .n_kv_heads = s->n_kv_heads,
                                          .head_dim = s->head_dim,
                                          .n_vocabulary = s->n_vocabulary,
                                          .n_context = 4096,
                                          .norm_epsilon = 1e-5F,
                                          .attention_scale = 1.0F / sqrtf((float)s->head_dim),
                                          .rope = {.theta = 10000, .factor = 1},
                                          .sliding_rope = {.theta = 1000, .factor = 1},
                                          .window = s->window};
    if (s->window != 0)
        model->config.sliding[0] = 0x55; /* every other layer */
    model->weights.n_layers = s->n_layers;
    model->weights.layers = keep(s->n_layers, sizeof *model->weights.layers);
    model->weights.embedding = make_matrix(s, s->n_vocabulary, s->n_hidden);
    model->weights.output = s->tied ? model->weights.embedding : make_matrix(s, s->n_vocabulary, s->n_hidden);
    model->weights.final_norm = random_vector(s->n_hidden, 1, 0.3F);
    for (size_t i = 0; i < s->n_layers; i++)
        make_layer(&model->weights.layers[i], s);
    return model;
}

static void expect(enum entro_error error, const struct entro_message *message)
{
    if (error == ENTRO_OK)
        return;
    fprintf(stderr, "%s\n", message->text);
    exit(1);
}

static struct entro_backend *open_gpu(struct entro_gpu *gpu, const struct model *model, size_t n_context,
                                      size_t n_batch, unsigned n_threads, struct entro_cuda_loaded *figures)
{
    struct entro_message message;
    struct entro_backend *backend;
    const struct entro_cuda_options options = {
        .n_context = n_context, .n_batch = n_batch, .n_threads = n_threads};
    expect(entro_backend_cuda_create(&backend, gpu, &model->config, &model->weights, &options, figures,
                                     &message),
           &message);
    return backend;
}

#define CHECK_TOKENS 24

/* Logits behind every token, n at a time. */
static float *run(struct entro_backend *backend, const uint32_t *tokens, size_t n, size_t n_vocabulary)
{
    struct entro_message message;
    float *logits = allocate(CHECK_TOKENS * n_vocabulary, sizeof *logits);
    for (size_t done = 0; done < CHECK_TOKENS; done += n) {
        expect(backend->forward(backend, tokens + done, n, done, NULL, &message), &message);
        expect(backend->logits(backend, done, n, logits + done * n_vocabulary, &message), &message);
    }
    return logits;
}

/* The most likely tokens, one after the other: whether both backends say the same. */
static bool same_text(struct entro_backend *cpu, struct entro_backend *cuda, const uint32_t *tokens,
                      size_t n_vocabulary)
{
    struct entro_message message;
    struct entro_backend *backends[] = {cpu, cuda};
    uint32_t texts[2][16];
    float *logits = allocate(n_vocabulary, sizeof *logits);
    for (size_t b = 0; b < 2; b++)
        for (size_t i = 0; i < 16; i++) {
            uint32_t token = i == 0 ? tokens[0] : texts[b][i - 1];
            bool picks = backends[b]->pick != NULL;
            expect(backends[b]->forward(backends[b], &token, 1, i, picks ? NULL : logits, &message),
                   &message);
            if (picks) {
                expect(backends[b]->pick(backends[b], &(struct entro_pick){0}, &texts[b][i], &message),
                       &message);
                continue;
            }
            texts[b][i] = 0;
            for (uint32_t j = 1; j < n_vocabulary; j++)
                if (logits[j] > logits[texts[b][i]])
                    texts[b][i] = j;
        }
    free(logits);
    return memcmp(texts[0], texts[1], sizeof texts[0]) == 0;
}

static int check(struct entro_gpu *gpu)
{
    static const struct shape shapes[] = {
        {"u8, factors, outliers", ENTRO_MATRIX_U8, true, 0, 2, 128, 192, 4, 2, 32, 300, 0, .tied = true},
        {"u4, factors, outliers, bias", ENTRO_MATRIX_U4, true, 0, 2, 128, 192, 4, 2, 32, 300, 0,
         .bias = true},
        {"u8, fused, factors, window", ENTRO_MATRIX_U8, true, 0, 3, 96, 160, 6, 2, 16, 211, 9, .fused = true},
        {"u4, fused, rows in the middle of bytes", ENTRO_MATRIX_U4, true, 0, 2, 77, 55, 3, 1, 22, 150, 0,
         .fused = true},
        {"u8, q/k norms, post norms, GELU, interleaved", ENTRO_MATRIX_U8, false, 0, 3, 64, 128, 8, 1, 16, 200,
         12, .qk_norm = true, .post_norms = true, .gelu = true, .interleaved = true},
        {"BF16", ENTRO_MATRIX_DTYPE, false, ENTRO_DTYPE_BF16, 2, 128, 192, 4, 4, 32, 300, 0, .fused = false},
        {"F16", ENTRO_MATRIX_DTYPE, false, ENTRO_DTYPE_F16, 2, 128, 192, 4, 2, 32, 300, 0, .fused = false},
        {"F32, odd sizes", ENTRO_MATRIX_DTYPE, false, ENTRO_DTYPE_F32, 2, 61, 83, 3, 3, 18, 101, 0,
         .fused = false},
    };
    int n_failed = 0;
    struct entro_pool *pool;
    struct entro_message message;
    struct entro_cuda_loaded figures;
    expect(entro_pool_create(&pool, 2), &message);
    printf("%-46s %10s %10s %10s  greedy text\n", "logits against the CPU, of their range", "1 token",
           "8 tokens", "24 tokens");
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        const struct shape *shape = &shapes[i];
        static const size_t sizes[] = {1, 8, CHECK_TOKENS};
        struct model *model = make_model(shape);
        struct entro_backend *cpu, *cuda = open_gpu(gpu, model, 64, CHECK_TOKENS, 2, &figures);
        uint32_t tokens[CHECK_TOKENS];
        bool ok = true;
        expect(entro_backend_cpu_create(&cpu, &model->config, &model->weights, 64, pool,
                                        &entro_kernels_portable, &message),
               &message);
        for (size_t j = 0; j < CHECK_TOKENS; j++)
            tokens[j] = random_u32() % (uint32_t)shape->n_vocabulary;
        float *expected = run(cpu, tokens, 1, shape->n_vocabulary);
        printf("%-46s", shape->name);
        for (size_t j = 0; j < 3; j++) {
            float *logits = run(cuda, tokens, sizes[j], shape->n_vocabulary);
            double difference = logits_difference(expected, logits, CHECK_TOKENS * shape->n_vocabulary);
            ok = ok && difference <= (sizes[j] == 1 ? 1e-3 : 1e-2);
            printf(" %10.1e", difference);
            free(logits);
        }
        bool same = same_text(cpu, cuda, tokens, shape->n_vocabulary);
        printf("  %s%s\n", same ? "same" : "differs", ok && same ? "" : "  FAILED");
        n_failed += !(ok && same);
        free(expected);
        cpu->free(cpu);
        cuda->free(cuda);
        free_kept();
    }
    entro_pool_free(pool);
    printf("%s\n", n_failed == 0 ? "all models agree with the CPU" : "SOME MODELS DIFFER");
    return n_failed == 0 ? 0 : 1;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Mistral 7B: a prompt of 512 tokens, and one token after the other behind 64 and 4000 others. */
static int bench(struct entro_gpu *gpu, enum entro_matrix_encoding encoding)
{
    struct shape shape = {"Mistral 7B", encoding, false, 0,     32, 4096,          14336,
                          32,           8,        128,   32000, 0,  .fused = false};
    size_t shared_bytes = shape.n_vocabulary * shape.n_hidden;
    uint8_t *shared = keep(shared_bytes, 1);
    for (size_t i = 0; i + 4 <= shared_bytes; i += 4)
        entro_store_u32(shared + i, random_u32());
    shape.shared = shared;
    struct model *model = make_model(&shape);
    struct entro_cuda_loaded figures;
    struct entro_message message;
    struct entro_backend *cuda = open_gpu(gpu, model, 4200, 512, 8, &figures);
    uint32_t tokens[512];
    for (size_t i = 0; i < 512; i++)
        tokens[i] = random_u32() % 32000;
    const char *name = encoding == ENTRO_MATRIX_U8 ? "u8" : "u4";
    printf("%s load from memory       %8.2f GB/s (%.2f GB)\n", name,
           (double)figures.read_bytes / 1e9 / figures.seconds, (double)figures.read_bytes / 1e9);
    double seconds[32];
    for (size_t i = 0; i < 6; i++) {
        float *logits = allocate(32000, sizeof *logits);
        double start = entro_now_seconds();
        expect(cuda->forward(cuda, tokens, 512, 0, logits, &message), &message);
        seconds[i] = entro_now_seconds() - start;
        free(logits);
    }
    qsort(seconds, 6, sizeof *seconds, compare_doubles);
    /* Each weight but the embedding's takes part in a product with each token; the head with the last alone.
     */
    double n_weights = 32.0 * (4096.0 * (4096 + 1024 + 1024 + 4096) + 3 * 4096.0 * 14336);
    printf("%s prompt of 512          %8.0f tokens/s, %.1f TFLOP/s\n", name, 512 / seconds[2],
           2e-12 * n_weights * 512 / seconds[2]);
    static const size_t depths[] = {64, 4000};
    for (size_t d = 0; d < 2; d++) {
        uint32_t token = tokens[0];
        for (size_t i = 0; i < 32; i++) {
            double start = entro_now_seconds();
            expect(cuda->forward(cuda, &token, 1, depths[d] + i, NULL, &message), &message);
            expect(cuda->pick(cuda, &(struct entro_pick){0}, &token, &message), &message);
            seconds[i] = entro_now_seconds() - start;
        }
        qsort(seconds, 32, sizeof *seconds, compare_doubles);
        double read_bytes =
            (double)figures.read_bytes - (double)shared_bytes / (encoding == ENTRO_MATRIX_U8 ? 1 : 2);
        printf("%s one token behind %4zu   %8.1f tokens/s, %.0f GB/s of weights\n", name, depths[d],
               1 / seconds[16], read_bytes / 1e9 / seconds[16]);
    }
    cuda->free(cuda);
    free_kept();
    return 0;
}

int main(int argc, char **argv)
{
    struct entro_gpu *gpu;
    struct entro_message message;
    int status = 2;
    bool may_skip = argc > 2 && strcmp(argv[2], "--or-skip") == 0;
    if (argc < 2) {
        fprintf(stderr, "usage: gpu_model check|u8|u4\n");
        return 2;
    }
    if (entro_gpu_open(&gpu, &message) != ENTRO_OK) {
        printf("skipped: %s\n", message.text);
        return may_skip ? 77 : 1;
    }
    printf("%s\n", entro_gpu_name(gpu));
    if (strcmp(argv[1], "check") == 0)
        status = check(gpu);
    else
        status = bench(gpu, strcmp(argv[1], "u4") == 0 ? ENTRO_MATRIX_U4 : ENTRO_MATRIX_U8);
    entro_gpu_close(gpu);
    return status;
}
