/* Table and JSON; see bench_output.h. */
#include "tests/bench/bench_output.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

static json_t *rows; /* until the end */

/* In the order in which they are told; absent ones are told as absent. */
static const char *const others[] = {"zstd", "huff0", "lz4", "memcpy"};
enum { ZSTD, HUFF0, LZ4, MEMCPY, N_OTHERS };

static void find_others(const struct bench_request *request, const struct bench_figures *figures,
                        const struct bench_figures *found[N_OTHERS])
{
    for (size_t i = 0; i < N_OTHERS; i++) {
        found[i] = NULL;
        for (size_t k = 0; k < request->n_contenders; k++) {
            if (strcmp(request->contenders[k].name, others[i]) == 0)
                found[i] = &figures[k];
        }
    }
}

static const char *destination_name(enum bench_destination destination)
{
    return destination == BENCH_REUSED ? "reused" : "fresh";
}

static double decode_ratio(const struct bench_figures *ours, const struct bench_figures *other)
{
    return other != NULL ? ours->decode_gbps / other->decode_gbps : 0;
}

static double encode_ratio(const struct bench_figures *ours, const struct bench_figures *other)
{
    return other != NULL ? ours->encode_gbps / other->encode_gbps : 0;
}

void bench_print_head(bool as_json, const char *processor)
{
    if (as_json)
        return;
    printf("%s; lengths: %s; GB/s of decoded bytes; size: to the order-0 entropy, index and codebooks "
           "included\n",
           processor, bench_lengths_name());
    printf("%-20s %-14s %6s %3s %-6s %7s | %7s %7s %7s | %7s %7s %7s\n", "set", "coder", "block", "thr",
           "dest", "size", "decode", "x zstd", "x huff0", "encode", "x zstd", "x huff0");
}

static void print_ratio(double ratio)
{
    if (ratio > 0)
        printf(" %7.2f", ratio);
    else
        printf(" %7s", "-");
}

static void print_rows(const struct bench_request *request, const struct bench_figures *figures)
{
    const struct bench_figures *found[N_OTHERS];
    find_others(request, figures, found);
    for (size_t k = 0; k < request->n_contenders; k++) {
        const struct bench_figures *own = &figures[k];
        printf("%-20s %-14s %6zu %3u %-6s %7.4f | %7.2f", request->set->name, request->contenders[k].name,
               request->block_bytes, request->n_threads, destination_name(request->destination),
               own->size_ratio, own->decode_gbps);
        print_ratio(decode_ratio(own, found[ZSTD]));
        print_ratio(decode_ratio(own, found[HUFF0]));
        printf(" | %7.2f", own->encode_gbps);
        print_ratio(encode_ratio(own, found[ZSTD]));
        print_ratio(encode_ratio(own, found[HUFF0]));
        printf("\n");
    }
    fflush(stdout);
}

static json_t *number_or_null(bool is_there, double value)
{
    return is_there ? json_real(value) : json_null();
}

static void add_ratios(json_t *row, const struct bench_figures *ours, const char *name,
                       const struct bench_figures *other)
{
    bool is_there = other != NULL;
    char key[64];
    snprintf(key, sizeof key, "decode_vs_%s", name);
    json_object_set_new(row, key, number_or_null(is_there, decode_ratio(ours, other)));
    snprintf(key, sizeof key, "encode_vs_%s", name);
    json_object_set_new(row, key, number_or_null(is_there, encode_ratio(ours, other)));
    snprintf(key, sizeof key, "%s_size_ratio", name);
    json_object_set_new(row, key, number_or_null(is_there, is_there ? other->size_ratio : 0));
    snprintf(key, sizeof key, "%s_decode_gbps", name);
    json_object_set_new(row, key, number_or_null(is_there, is_there ? other->decode_gbps : 0));
    snprintf(key, sizeof key, "%s_encode_gbps", name);
    json_object_set_new(row, key, number_or_null(is_there, is_there ? other->encode_gbps : 0));
}

static void keep_rows(const struct bench_request *request, const struct bench_figures *figures,
                      const char *processor)
{
    const struct bench_figures *found[N_OTHERS];
    find_others(request, figures, found);
    if (rows == NULL)
        rows = json_array();
    for (size_t k = 0; k < request->n_contenders; k++) {
        const struct bench_contender *contender = &request->contenders[k];
        const struct bench_figures *own = &figures[k];
        if (contender->kernels == NULL)
            continue;
        json_t *row = json_pack(
            "{s:s, s:I, s:s, s:f, s:f, s:f, s:f, s:f, s:I, s:s, s:b, s:s, s:f, s:I, s:I, s:I, s:s}", "name",
            request->set->name, "block_bytes", (json_int_t)request->block_bytes, "kernel", contender->name,
            "size_ratio", own->size_ratio, "decode_gbps", own->decode_gbps, "encode_gbps", own->encode_gbps,
            "decode_plan_ms", own->decode_plan_ms, "encode_plan_ms", own->encode_plan_ms, "threads",
            (json_int_t)request->n_threads, "destination", destination_name(request->destination), "checksum",
            contender->has_checksum, "lengths", bench_lengths_name(), "entropy_bits",
            request->set->entropy_bits, "bytes", (json_int_t)request->set->size_bytes, "streams",
            (json_int_t)request->set->n_streams, "rounds", (json_int_t)request->n_rounds, "processor",
            processor);
        for (size_t i = 0; i < N_OTHERS; i++)
            add_ratios(row, own, others[i], found[i]);
        json_array_append_new(rows, row);
    }
}

void bench_print_request(bool as_json, const struct bench_request *request,
                         const struct bench_figures *figures, const char *processor)
{
    if (as_json)
        keep_rows(request, figures, processor);
    else
        print_rows(request, figures);
}

void bench_print_end(bool as_json)
{
    if (!as_json)
        return;
    if (rows == NULL)
        rows = json_array();
    json_dumpf(rows, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(6));
    printf("\n");
    json_decref(rows);
    rows = NULL;
}

const char *bench_processor(void)
{
    static char name[256];
    FILE *file = fopen("/proc/cpuinfo", "re");
    char line[1024];
    snprintf(name, sizeof name, "unknown processor");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        char *colon = strchr(line, ':');
        if (colon == NULL || (strncmp(line, "model name", 10) != 0 && strncmp(line, "Model", 5) != 0))
            continue;
        snprintf(name, sizeof name, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
        break;
    }
    if (file != NULL)
        fclose(file);
    return name;
}
