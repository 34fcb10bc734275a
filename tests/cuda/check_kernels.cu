/*
 * Every kernel of the GPU backend against its plain C twin (runner/cuda/twins.h). The same program for a GPU
 * (nvcc; tests/gpu.sh) and for the emulator, where it is a test.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vector>

#include "runner/cuda/attention_batch.h"
#include "runner/cuda/kernels.h"
#include "runner/cuda/twins.h"

static int n_failed;

#define CHECK(call)                                                                                          \
    do {                                                                                                     \
        cudaError_t check_error = (call);                                                                    \
        if (check_error != cudaSuccess) {                                                                    \
            fprintf(stderr, "%s: %s\n", #call, cudaGetErrorString(check_error));                             \
            exit(1);                                                                                         \
        }                                                                                                    \
    } while (0)

static uint64_t random_state = 1;

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

static std::vector<float> random_vector(size_t n, float offset = 0)
{
    std::vector<float> v(n);
    for (float &x : v)
        x = random_float() * 0.5F + offset;
    return v;
}

/* A copy on the card, freed at the end. */
template <typename T> struct on_card {
    T *at = NULL;
    size_t n;
    explicit on_card(size_t size) : n(size)
    {
        CHECK(cudaMalloc(reinterpret_cast<void **>(&at), (n + 1) * sizeof(T)));
        CHECK(cudaMemset(at, 0, (n + 1) * sizeof(T)));
    }
    explicit on_card(const std::vector<T> &v) : on_card(v.size())
    {
        if (n > 0)
            CHECK(cudaMemcpy(at, v.data(), n * sizeof(T), cudaMemcpyHostToDevice));
    }
    on_card(const on_card &) = delete;
    on_card &operator=(const on_card &) = delete;
    ~on_card()
    {
        cudaFree(at);
    }
    std::vector<T> back() const
    {
        std::vector<T> v(n);
        CHECK(cudaDeviceSynchronize());
        CHECK(cudaGetLastError());
        if (n > 0)
            CHECK(cudaMemcpy(v.data(), at, n * sizeof(T), cudaMemcpyDeviceToHost));
        return v;
    }
};

static void report(const char *what, double difference, double tolerance)
{
    bool ok = difference <= tolerance;
    printf("%-58s %9.1e  %s\n", what, difference, ok ? "ok" : "FAILED");
    n_failed += !ok;
}

/* Largest difference over the largest element. */
static void compare(const char *what, const std::vector<float> &expected, const std::vector<float> &got,
                    double tolerance)
{
    double difference = 0, largest = 1e-30;
    for (size_t i = 0; i < expected.size(); i++) {
        double d = fabs((double)expected[i] - (double)got[i]);
        difference = d <= difference ? difference : d; /* NaN counts */
        largest = fmax(largest, fabs((double)expected[i]));
    }
    report(what, difference / largest, tolerance);
}

/* A matrix on host and card. */
struct matrix {
    std::vector<uint8_t> data;
    std::vector<float> rows, columns, values;
    std::vector<uint32_t> outlier_rows, outlier_columns;
    on_card<uint8_t> *card_data;
    on_card<float> *card_rows, *card_columns, *card_values;
    on_card<uint32_t> *card_outlier_rows, *card_outlier_columns;
    struct entro_gpu_matrix host, card;

    matrix(int encoding, uint32_t n_rows, uint32_t n_columns, bool with_factors, float zero_fraction = 0)
    {
        uint64_t n = (uint64_t)n_rows * n_columns;
        data.resize(entro_cuda_bytes(encoding, n));
        for (uint8_t &byte : data)
            byte = (uint8_t)random_u32();
        for (uint64_t i = 0; i < n; i++) {
            float x = random_float();
            uint32_t bits;
            memcpy(&bits, &x, sizeof bits);
            if (encoding == ENTRO_CUDA_F32)
                memcpy(&data[4 * i], &bits, 4);
            else if (encoding == ENTRO_CUDA_BF16)
                memcpy(&data[2 * i], (const char *)&bits + 2, 2);
            else if (encoding == ENTRO_CUDA_F16) /* any finite number below 2 */
                data[2 * i + 1] = (uint8_t)(data[2 * i + 1] & 0xbf);
        }
        memset(&host, 0, sizeof host);
        host.n_rows = n_rows;
        host.n_columns = n_columns;
        host.encoding = encoding;
        bool codes = encoding == ENTRO_CUDA_U8 || encoding == ENTRO_CUDA_U4;
        if (codes) {
            host.scale = 0.01F;
            host.zero_whole = encoding == ENTRO_CUDA_U8 ? 131 : 7;
            host.zero_fraction = zero_fraction;
        }
        if (codes && with_factors) {
            rows = random_vector(n_rows, 1);
            columns = random_vector(n_columns, 1);
            for (uint32_t row = 0; row <= n_rows; row++) {
                outlier_rows.push_back((uint32_t)values.size());
                for (uint32_t column = row % 3; row < n_rows && row % 2 == 0 && column < n_columns;
                     column += 50) {
                    outlier_columns.push_back(column);
                    values.push_back(8 * random_float());
                }
            }
            host.n_outliers = (uint32_t)values.size();
        }
        card_data = new on_card<uint8_t>(data);
        card_rows = new on_card<float>(rows);
        card_columns = new on_card<float>(columns);
        card_values = new on_card<float>(values);
        card_outlier_rows = new on_card<uint32_t>(outlier_rows);
        card_outlier_columns = new on_card<uint32_t>(outlier_columns);
        card = host;
        host.data = data.data();
        card.data = card_data->at;
        if (codes && with_factors) {
            host.row_scale = rows.data();
            host.column_scale = columns.data();
            host.outlier_rows = outlier_rows.data();
            host.outlier_columns = outlier_columns.data();
            host.outlier_deltas = values.data();
            card.row_scale = card_rows->at;
            card.column_scale = card_columns->at;
            card.outlier_rows = card_outlier_rows->at;
            card.outlier_columns = card_outlier_columns->at;
            card.outlier_deltas = card_values->at;
            entro_gpu_prepare_outliers(&card, NULL);
        }
    }
    matrix(const matrix &) = delete;
    matrix &operator=(const matrix &) = delete;
    ~matrix()
    {
        delete card_data;
        delete card_rows;
        delete card_columns;
        delete card_values;
        delete card_outlier_rows;
        delete card_outlier_columns;
    }
};

static const char *const encodings[] = {"u8", "u4", "BF16", "F16", "F32"};

static void check_embed(int encoding, bool factors)
{
    char what[96];
    const std::vector<uint32_t> tokens = {3, 0, 6, 3};
    matrix m(encoding, 7, 131, factors);
    std::vector<float> expected(tokens.size() * 131);
    on_card<uint32_t> card_tokens(tokens);
    on_card<float> x(expected.size());
    entro_twin_embed(&m.host, tokens.data(), 4, 3.0F, expected.data());
    entro_gpu_embed(&m.card, card_tokens.at, 4, 3.0F, x.at, NULL);
    snprintf(what, sizeof what, "embedding, %s%s", encodings[encoding],
             factors ? ", factors and outliers" : "");
    compare(what, expected, x.back(), 2e-6);
}

static void check_norm(void)
{
    std::vector<float> x = random_vector(5 * 300), weight = random_vector(300, 1),
                       out = random_vector(5 * 300);
    on_card<float> card_x(x), card_weight(weight), card_out(out);
    entro_gpu_norm(card_x.at, card_weight.at, 1e-5F, 300, 5, true, card_out.at, NULL);
    entro_twin_norm(x.data(), weight.data(), 1e-5F, 300, 5, true, out.data());
    compare("norm, added", out, card_out.back(), 1e-6);
    entro_gpu_norm(card_x.at, NULL, 0, 300, 5, false, card_out.at, NULL);
    compare("norm, none", x, card_out.back(), 0);
}

static void check_gate(void)
{
    for (int gelu = 0; gelu < 2; gelu++) {
        std::vector<float> gate_up = random_vector(3 * 2 * 301);
        for (float &x : gate_up)
            x *= 20;
        gate_up[0] = -200;
        on_card<float> card(gate_up);
        entro_gpu_gate(card.at, 301, 3, gelu != 0, NULL);
        for (int t = 0; t < 3; t++)
            for (int i = 0; i < 301; i++)
                gate_up[t * 602 + i] =
                    entro_twin_gated(gate_up[t * 602 + i], gate_up[t * 602 + 301 + i], gelu != 0);
        compare(gelu ? "gate, GELU" : "gate, SiLU", gate_up, card.back(), 1e-6);
    }
}

/* Input prepared with a norm; products of two matrices into one vector, stored or added. */
static void check_products(int encoding, uint32_t n_columns, bool factors, float zero_fraction)
{
    char what[96];
    matrix a(encoding, 37, n_columns, factors, zero_fraction),
        b(encoding, 10, n_columns, factors, zero_fraction);
    std::vector<float> x = random_vector(n_columns), weight = random_vector(n_columns, 1), normed(n_columns);
    std::vector<float> expected = random_vector(47);
    on_card<float> card_x(x), card_weight(weight), y(expected);
    uint32_t lane_elements = entro_cuda_lane_elements(encoding),
             n_padded = entro_cuda_padded(n_columns, lane_elements);
    on_card<float> input_a(n_padded), input_b(n_padded), sums(2);
    struct entro_gpu_prepare prepare;
    struct entro_gpu_gemv job;
    memset(&prepare, 0, sizeof prepare);
    memset(&job, 0, sizeof job);
    prepare.x = card_x.at;
    prepare.weight = card_weight.at;
    prepare.epsilon = 1e-6F;
    prepare.n = n_columns;
    prepare.n_inputs = 2;
    prepare.inputs[0].x = input_a.at;
    prepare.inputs[0].sum = sums.at;
    prepare.inputs[1].x = input_b.at;
    prepare.inputs[1].sum = sums.at + 1;
    prepare.columns[0] = a.card.column_scale;
    prepare.columns[1] = b.card.column_scale;
    prepare.lane_elements[0] = prepare.lane_elements[1] = lane_elements;
    entro_gpu_prepare_inputs(&prepare, NULL);
    job.n_parts = 2;
    job.output = ENTRO_GPU_ADD;
    job.parts[0].matrix = a.card;
    job.parts[0].input = prepare.inputs[0];
    job.parts[0].y = y.at;
    job.parts[1].matrix = b.card;
    job.parts[1].input = prepare.inputs[1];
    job.parts[1].y = y.at + 37;
    entro_gpu_multiply(&job, NULL);
    std::vector<float> product(47);
    entro_twin_norm(x.data(), weight.data(), 1e-6F, n_columns, 1, false, normed.data());
    entro_twin_multiply(&a.host, normed.data(), product.data());
    entro_twin_multiply(&b.host, normed.data(), product.data() + 37);
    for (size_t i = 0; i < product.size(); i++)
        expected[i] += product[i];
    snprintf(what, sizeof what, "product with one token, %s, %u columns%s%s", encodings[encoding], n_columns,
             factors ? ", factors" : "", zero_fraction != 0 ? ", fraction" : "");
    compare(what, expected, y.back(), 5e-6);
}

static void check_gated_products(int encoding, uint32_t n_columns)
{
    char what[96];
    matrix gate(encoding, 33, n_columns, true), up(encoding, 33, n_columns, true);
    std::vector<float> x = random_vector(n_columns), columns = random_vector(33, 1), g(33), u(33);
    on_card<float> card_x(x), card_columns(columns);
    uint32_t lane_elements = entro_cuda_lane_elements(encoding),
             n_padded = entro_cuda_padded(n_columns, lane_elements);
    on_card<float> input_a(n_padded), input_b(n_padded), sums(2), next(entro_cuda_padded(33, 16));
    struct entro_gpu_prepare prepare;
    struct entro_gpu_gemv job;
    memset(&prepare, 0, sizeof prepare);
    memset(&job, 0, sizeof job);
    prepare.x = card_x.at;
    prepare.n = n_columns;
    prepare.n_inputs = 2;
    prepare.inputs[0].x = input_a.at;
    prepare.inputs[0].sum = sums.at;
    prepare.inputs[1].x = input_b.at;
    prepare.inputs[1].sum = sums.at + 1;
    prepare.columns[0] = gate.card.column_scale;
    prepare.columns[1] = up.card.column_scale;
    prepare.lane_elements[0] = prepare.lane_elements[1] = lane_elements;
    entro_gpu_prepare_inputs(&prepare, NULL);
    job.n_parts = 2;
    job.output = ENTRO_GPU_GATE;
    job.gelu = 1;
    job.next_lane_elements = 16;
    job.next_columns = card_columns.at;
    job.next_x = next.at;
    job.parts[0].matrix = gate.card;
    job.parts[0].input = prepare.inputs[0];
    job.parts[1].matrix = up.card;
    job.parts[1].input = prepare.inputs[1];
    entro_gpu_multiply(&job, NULL);
    entro_twin_multiply(&gate.host, x.data(), g.data());
    entro_twin_multiply(&up.host, x.data(), u.data());
    std::vector<float> placed = next.back(), got(33);
    for (uint32_t i = 0; i < 33; i++) {
        g[i] = entro_twin_gated(g[i], u[i], true) * columns[i];
        got[i] = placed[entro_cuda_place(i, 16)];
    }
    snprintf(what, sizeof what, "gate and up at once, %s, %u columns", encodings[encoding], n_columns);
    compare(what, g, got, 1e-5);
}

/* Through the library's products where n_scores is not 0: the room that they have. */
static void check_attention(uint32_t n_heads, uint32_t n_kv_heads, uint32_t head_dim, uint32_t n_tokens,
                            uint32_t position, uint64_t window, uint32_t n_splits, bool all,
                            uint64_t n_scores = 0)
{
    char what[96];
    const uint64_t n_context = position + n_tokens + 3, n_all = n_heads + 2 * n_kv_heads;
    std::vector<float> qkv = random_vector(n_tokens * n_all * head_dim),
                       bias = random_vector(n_all * head_dim);
    std::vector<float> query_norm = random_vector(head_dim, 1), key_norm = random_vector(head_dim, 1);
    std::vector<float> angles = random_vector(n_tokens * 4 * (head_dim / 2)),
                       attended(n_tokens * n_heads * head_dim);
    std::vector<uint16_t> keys(n_kv_heads * n_context * head_dim), values(keys.size());
    std::vector<uint32_t> positions = {position};
    for (size_t i = 0; i < keys.size(); i++) { /* finite, below 2 */
        keys[i] = (uint16_t)(random_u32() & 0xbfff);
        values[i] = (uint16_t)(random_u32() & 0xbfff);
    }
    on_card<float> card_qkv(qkv), card_bias(bias), card_query_norm(query_norm), card_key_norm(key_norm);
    on_card<float> card_angles(angles), card_attended(attended);
    on_card<float> partial((size_t)n_tokens * n_heads * n_splits * (head_dim + 2));
    on_card<float> scores(n_scores);
    on_card<uint16_t> queries((size_t)n_tokens * n_heads * head_dim), exponents(n_scores);
    on_card<uint16_t> card_keys(keys), card_values(values);
    on_card<uint32_t> card_position(positions);
    struct entro_gpu_attention job;
    memset(&job, 0, sizeof job);
    job.n_tokens = n_tokens;
    job.n_heads = n_heads;
    job.n_kv_heads = n_kv_heads;
    job.head_dim = head_dim;
    job.n_splits = n_splits;
    job.sliding = window != 0;
    job.interleaved = all;
    job.window = window;
    job.n_context = n_context;
    job.scale = 0.2F;
    job.epsilon = 1e-6F;
    struct entro_gpu_attention twin = job;
    job.step.position = card_position.at;
    job.step.angles = card_angles.at;
    job.bias = all ? card_bias.at : NULL;
    job.query_norm = all ? card_query_norm.at : NULL;
    job.key_norm = all ? card_key_norm.at : NULL;
    job.qkv = card_qkv.at;
    job.keys = card_keys.at;
    job.values = card_values.at;
    job.partial = partial.at;
    job.attended = card_attended.at;
    twin.step.position = positions.data();
    twin.step.angles = angles.data();
    twin.bias = all ? bias.data() : NULL;
    twin.query_norm = all ? query_norm.data() : NULL;
    twin.key_norm = all ? key_norm.data() : NULL;
    twin.qkv = qkv.data();
    twin.keys = keys.data();
    twin.values = values.data();
    twin.attended = attended.data();
    job.queries = n_scores > 0 ? queries.at : NULL;
    job.scores = scores.at;
    job.exponents = exponents.at;
    job.n_scores = n_scores;
    entro_gpu_place_heads(&job, NULL);
    entro_twin_attend(&twin);
    snprintf(what, sizeof what, "attention, %u/%u heads of %u, %u tokens from %u%s, %u shares", n_heads,
             n_kv_heads, head_dim, n_tokens, position, window != 0 ? ", window" : "", n_splits);
    if (n_scores == 0) {
        entro_gpu_attend(&job, NULL);
        compare(what, attended, card_attended.back(), 2e-4); /* a key's rounding to F16 may differ by one */
        return;
    }
    cublasHandle_t blas;
    struct entro_gpu_attention_tile tile = entro_gpu_choose_tile(&job, position);
    bool ok = cublasCreate(&blas) == CUBLAS_STATUS_SUCCESS && tile.n_tokens > 0 &&
              entro_gpu_attend_batch(&job, position, blas, NULL);
    snprintf(what, sizeof what, "attention in products, %u/%u heads of %u, %u tokens from %u%s, %u by %u",
             n_heads, n_kv_heads, head_dim, n_tokens, position, window != 0 ? ", window" : "", tile.n_tokens,
             tile.n_kv_heads);
    compare(what, attended, card_attended.back(), 2e-3); /* queries and exponents are F16 */
    if (!ok) {
        printf("%s: FAILED\n", what);
        n_failed++;
    }
    cublasDestroy(blas);
}

static void check_batch(int encoding, uint32_t n_columns, bool factors)
{
    char what[96];
    const uint32_t n_rows = 21, first = 5, n_tokens = 3;
    matrix m(encoding, n_rows, n_columns, factors);
    std::vector<float> x = random_vector(n_tokens * (n_columns + 2));
    for (size_t i = 0; i < x.size(); i++)
        x[i] *= i < n_columns ? 1e6F : 1e-6F; /* beyond F16 on both sides */
    on_card<float> card_x(x), scales(n_tokens), y(n_tokens * (n_rows + 4));
    on_card<uint16_t> halves((size_t)n_tokens * n_columns), expanded((size_t)n_rows * n_columns);
    entro_gpu_halve(card_x.at, n_columns + 2, m.card.column_scale, n_columns, n_tokens, halves.at, scales.at,
                    NULL);
    entro_gpu_expand(&m.card, 0, first, expanded.at, NULL);
    entro_gpu_expand(&m.card, first, n_rows - first, expanded.at + (size_t)first * n_columns, NULL);
    /* The library's part, on the host, unscaled; then `finish`. */
    std::vector<uint16_t> a = expanded.back(), b = halves.back();
    std::vector<float> product(n_tokens * (n_rows + 4)), expected(product.size());
    on_card<float> widened_a(1); /* keeps the compiler from leaving out the copy above */
    for (uint32_t t = 0; t < n_tokens; t++) {
        for (uint32_t row = 0; row < n_rows; row++) {
            double sum = 0;
            for (uint32_t i = 0; i < n_columns; i++) {
                struct entro_gpu_matrix one = m.host;
                one.encoding = ENTRO_CUDA_F16;
                one.n_columns = 1;
                one.data = (const uint8_t *)&a[(size_t)row * n_columns + i];
                double weight = entro_twin_weight(&one, 0, 0);
                one.data = (const uint8_t *)&b[(size_t)t * n_columns + i];
                sum += weight * entro_twin_weight(&one, 0, 0);
            }
            product[t * (n_rows + 4) + row] = (float)sum;
        }
        entro_twin_multiply(&m.host, &x[t * (n_columns + 2)], &expected[t * (n_rows + 4)]);
    }
    CHECK(cudaMemcpy(y.at, product.data(), product.size() * sizeof(float), cudaMemcpyHostToDevice));
    entro_gpu_finish(&m.card, scales.at, n_tokens, n_rows + 4, y.at, NULL);
    std::vector<float> got = y.back();
    for (uint32_t t = 0; t < n_tokens; t++) { /* a token at a time: their sizes differ by 10^12 */
        snprintf(what, sizeof what, "product with many tokens, %s, %u columns%s, token %u",
                 encodings[encoding], n_columns, factors ? ", factors" : "", t);
        size_t from = t * (n_rows + 4);
        compare(what, std::vector<float>(expected.begin() + from, expected.begin() + from + n_rows),
                std::vector<float>(got.begin() + from, got.begin() + from + n_rows), 2e-3);
    }
}

static void check_finite(void)
{
    std::vector<float> x = random_vector(100000);
    on_card<uint32_t> flag(1);
    on_card<float> good(x);
    entro_gpu_check_finite(good.at, x.size(), flag.at, NULL);
    report("finite numbers", flag.back()[0], 0);
    x[99999] = NAN;
    on_card<float> bad(x);
    entro_gpu_check_finite(bad.at, x.size(), flag.at, NULL);
    report("a NaN is seen", flag.back()[0] == 1 ? 0 : 1, 0);
}

static void check_pick(uint32_t n, bool many_equal)
{
    char what[96];
    int n_wrong = 0;
    for (int round = 0; round < 12; round++) {
        std::vector<float> logits = random_vector(n);
        for (float &x : logits)
            x = many_equal ? roundf(4 * x) : 20 * x;
        on_card<float> card_logits(logits);
        std::vector<struct entro_cuda_pick> how(1);
        memset(&how[0], 0, sizeof how[0]);
        how[0].temperature = round == 0 ? 0.0F : 0.3F * (float)round;
        how[0].top_k = round % 4 == 1 ? 1 : round % 4 == 2 ? 40 : 256;
        how[0].top_p = round % 3 == 0 ? 1.0F : 0.9F;
        how[0].min_p = round % 5 == 0 ? 0.05F : 0.0F;
        how[0].point = (double)random_u32() * 0x1p-32;
        on_card<struct entro_cuda_pick> card_how(how);
        on_card<struct entro_gpu_picked> picked(1);
        if (round == 0)
            entro_gpu_pick_most_likely(card_logits.at, n, picked.at, NULL);
        else
            entro_gpu_pick(card_logits.at, n, card_how.at, picked.at, NULL);
        struct entro_gpu_picked got = picked.back()[0];
        n_wrong += got.token != entro_twin_pick(logits.data(), n, &how[0]) || got.flag != 0;
    }
    snprintf(what, sizeof what, "picks among %u%s", n, many_equal ? ", many equally likely" : "");
    report(what, n_wrong, 0);
}

int main(void)
{
    for (int encoding = 0; encoding < 5; encoding++) {
        check_embed(encoding, encoding < 2);
        static const uint32_t columns[] = {32, 1536, 2080, 51};
        for (uint32_t n : columns)
            check_products(encoding, n, encoding < 2, 0);
        check_gated_products(encoding, 544);
        check_gated_products(encoding, 77);
        check_batch(encoding, 96, encoding < 2);
        check_batch(encoding, 61, encoding < 2);
    }
    check_products(ENTRO_CUDA_U8, 512, true, 0.25F);
    check_products(ENTRO_CUDA_U4, 512, false, -0.25F);
    check_norm();
    check_gate();
    check_attention(8, 2, 64, 1, 0, 0, 4, true);
    check_attention(8, 2, 64, 1, 300, 0, 3, false);
    check_attention(12, 1, 32, 1, 150, 40, 5, true);
    check_attention(2, 2, 96, 5, 130, 100, 2, true);
    check_attention(4, 2, 256, 3, 60, 0, 1, false);
    check_attention(8, 2, 64, 40, 0, 0, 1, true, 1 << 20);        /* all at once */
    check_attention(8, 2, 64, 33, 91, 0, 1, false, 8 * 128 * 20); /* a key-value head, then the other */
    check_attention(6, 3, 22, 37, 130, 50, 1, true, 2 * 88 * 7);  /* a head, 7 tokens at a time */
    check_attention(4, 4, 32, 150, 20, 30, 1, true, 2 * 184 * 140);
    check_attention(3, 1, 256, 16, 1000, 0, 1, false, 3 * 1016);
    check_finite();
    check_pick(2000, false);
    check_pick(2000, true);
    check_pick(100, true);
    printf("%s\n", n_failed == 0 ? "all kernels agree with their twins" : "SOME KERNELS DIFFER");
    return n_failed == 0 ? 0 : 1;
}
