/*
 * Writes a synthetic model, one safetensors file, always the same for the same arguments: matrices of BF16
 * weights as a trained model has them (normal, with few outliers that make the step coarse: about 5.5 bits a
 * u8 code, as in EntroLLM's models), or bytes that are almost all zero and cost no disk (--zero). Tensors are
 * numbered from 0, or from --first N on, for a model of several files.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define N_QUANTILES  65536U
#define SIGMA        0.02
#define OUTLIER      11.6 /* of SIGMA: 256 steps over twice that are 0.091 sigma each, which leaves 5.5 bits */
#define N_OUTLIERS   8U
#define COLUMNS      1024U
#define CHUNK_VALUES 65536U
#define MAX_TENSORS  1000000U
#define MAX_VALUES   (UINT64_C(1) << 40)

static uint16_t quantiles[N_QUANTILES];

static uint16_t to_bf16(double value)
{
    float single = (float)value;
    uint32_t bits;
    memcpy(&bits, &single, sizeof bits);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* Quantile i of N_QUANTILES of the normal distribution, by bisection. */
static void make_quantiles(void)
{
    for (unsigned i = 0; i < N_QUANTILES; i++) {
        double wanted = (i + 0.5) / N_QUANTILES, low = -6, high = 6;
        for (unsigned step = 0; step < 30; step++) {
            double middle = 0.5 * (low + high);
            if (0.5 * erfc(-middle / sqrt(2)) < wanted)
                low = middle;
            else
                high = middle;
        }
        quantiles[i] = to_bf16(SIGMA * low);
    }
}

/* xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled", 2016. */
static uint64_t next_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545F4914F6CDD1DU;
}

struct model {
    uint64_t first, n_tensors, n_rows;
    bool is_zero;
};

static uint64_t tensor_bytes(const struct model *model)
{
    return model->n_rows * COLUMNS * (model->is_zero ? 1 : 2);
}

/* The header; *data_offset is where it ends. */
static bool write_header(FILE *out, const struct model *model, uint64_t *data_offset)
{
    uint8_t length_bytes[8] = {0};
    fwrite(length_bytes, 1, 8, out);
    fputc('{', out);
    for (uint64_t i = 0; i < model->n_tensors; i++)
        fprintf(out,
                "%s\"model.layers.%06" PRIu64 ".weight\":{\"dtype\":\"%s\",\"shape\":[%" PRIu64
                ",%u],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}",
                i == 0 ? "" : ",", model->first + i, model->is_zero ? "U8" : "BF16", model->n_rows, COLUMNS,
                i * tensor_bytes(model), (i + 1) * tensor_bytes(model));
    fputc('}', out);
    off_t end = ftello(out);
    if (end < 0) /* a pipe: no place to come back to */
        return false;
    for (; end % 8 != 0; end++)
        fputc(' ', out);
    *data_offset = (uint64_t)end;
    for (unsigned i = 0; i < 8; i++)
        length_bytes[i] = (uint8_t)((*data_offset - 8) >> (8 * i));
    return fseeko(out, 0, SEEK_SET) == 0 && fwrite(length_bytes, 1, 8, out) == 8 &&
           fseeko(out, 0, SEEK_END) == 0;
}

static bool write_weights(FILE *out, uint64_t n_values, uint64_t *state)
{
    static uint16_t values[CHUNK_VALUES];
    for (uint64_t done = 0; done < n_values; done += CHUNK_VALUES) {
        size_t n = n_values - done < CHUNK_VALUES ? (size_t)(n_values - done) : CHUNK_VALUES;
        for (size_t i = 0; i < CHUNK_VALUES; i += 4) {
            uint64_t random = next_random(state);
            for (unsigned k = 0; k < 4; k++)
                values[i + k] = quantiles[random >> (16 * k) & 0xffff];
        }
        if (done == 0)
            for (unsigned i = 0; i < N_OUTLIERS; i++)
                values[next_random(state) % n] = to_bf16((i % 2 == 0 ? SIGMA : -SIGMA) * OUTLIER);
        if (fwrite(values, sizeof *values, n, out) != n)
            return false;
    }
    return true;
}

/* A hole but for eight bytes at the tensor's start, its number: no two tensors are the same stream. */
static bool write_zeros(int out, uint64_t offset, uint64_t number)
{
    uint8_t bytes[8];
    for (unsigned i = 0; i < 8; i++)
        bytes[i] = (uint8_t)((number + 1) >> (8 * i));
    return pwrite(out, bytes, sizeof bytes, (off_t)offset) == sizeof bytes;
}

static bool write_model(FILE *out, const struct model *model)
{
    uint64_t data_offset, state = 0x9E3779B97F4A7C15U ^ model->first;
    if (!write_header(out, model, &data_offset))
        return false;
    if (!model->is_zero)
        make_quantiles();
    else if (fflush(out) != 0 ||
             ftruncate(fileno(out), (off_t)(data_offset + model->n_tensors * tensor_bytes(model))) != 0)
        return false;
    for (uint64_t i = 0; i < model->n_tensors; i++)
        if (model->is_zero
                ? !write_zeros(fileno(out), data_offset + i * tensor_bytes(model), model->first + i)
                : !write_weights(out, model->n_rows * COLUMNS, &state))
            return false;
    return true;
}

/* False where the arguments are none of ours. */
static bool parse(int argc, char *argv[], struct model *model, const char **path)
{
    static const struct option options[] = {
        {"zero", no_argument, NULL, 'z'}, {"first", required_argument, NULL, 'f'}, {0}};
    int option;
    *model = (struct model){0};
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'z')
            model->is_zero = true;
        else if (option == 'f')
            model->first = strtoull(optarg, NULL, 10);
        else
            return false;
    }
    if (argc - optind != 3)
        return false;
    *path = argv[optind];
    model->n_tensors = strtoull(argv[optind + 1], NULL, 10);
    model->n_rows = strtoull(argv[optind + 2], NULL, 10);
    return model->n_tensors > 0 && model->n_rows > 0 && model->n_tensors <= MAX_TENSORS &&
           model->first <= MAX_TENSORS && model->n_rows <= MAX_VALUES / COLUMNS / model->n_tensors;
}

int main(int argc, char *argv[])
{
    struct model model;
    const char *path;
    if (!parse(argc, argv, &model, &path)) {
        fprintf(stderr, "Usage: make_model [--zero] [--first N] FILE TENSORS ROWS (of %u columns)\n",
                COLUMNS);
        return 2;
    }
    FILE *out = fopen(path, "wb");
    bool ok = out != NULL && write_model(out, &model);
    if (out != NULL)
        ok = fclose(out) == 0 && ok;
    if (!ok)
        fprintf(stderr, "make_model: %s: %s\n", path, strerror(errno));
    return ok ? 0 : 1;
}
