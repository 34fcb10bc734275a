/*
 * bench_codec: size and speed of the block coder beside zstd -1, huff0, lz4 and memcpy, on generated symbols
 * and on the codes of real models. Options and the order of the runs are here; what is run is the other
 * files'.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/format.h"
#include "codec/pivot_kernels.h"
#include "codec/pool.h"
#include "tests/bench/bench_output.h"
#include "tests/bench/bench_timing.h"

#define MAX_LIST        16
#define MODEL_MAX_BYTES ((size_t)1 << 30)

static const char help[] =
    "usage: bench_codec [options]\n"
    "\n"
    "Codes sets of 8-bit symbols block by block, each contender in its turn, a few megabytes a turn, and\n"
    "prints for each set, number of threads and destination: size relative to the order-0 entropy of each\n"
    "stream (for ours with 16 bytes of index a block and 128 of codebook a stream), decoding and encoding\n"
    "speed in 10^9 bytes of decoded data a second, and ratios to zstd -1 and huff0 of the same run. Times\n"
    "are medians over the rounds, slice by slice; histogram, code lengths and plans are in ours. On one\n"
    "thread, time is processor time: a busy machine disturbs less.\n"
    "\n"
    "what is coded\n"
    "  --sets NAME,...       of the generated sets: all (default), none, or names or their beginnings:\n"
    "                        gauss_3.0 gauss_4.0 gauss_5.7 gauss_6.5 t5_5.6: codes of 8 bits with that\n"
    "                        entropy, of a gaussian and of Student's t with 5 degrees of freedom;\n"
    "                        u4_1.4 u4_2.0 u4_3.5: two codes of 4 bits a byte, with that entropy a code;\n"
    "                        bf16_exponent: of gaussian weights\n"
    "  --size MIB            of each generated set (default 64)\n"
    "  --model DIR           also the codes of a model's tensors, those of 8 bits as one set, those of 4\n"
    "                        as another; DIR is a mount or what entrofsck --extract wrote. May be\n"
    "                        repeated. Of a large model, the tensors that fit 1 GiB are taken.\n"
    "  --block-size BYTES    4096 to 131072, K may follow (default: what images have)\n"
    "\n"
    "who codes it\n"
    "  --kernel NAME,...     of ours: best (default), all, or names (portable, ...)\n"
    "  --lengths NAME        how code lengths are chosen: joint, for size and speed together (default),\n"
    "                        or optimal, for size alone\n"
    "  --checksum            also ours with the checksum of each block, as images have it (\"+xxh3\")\n"
    "  --beside NAME,...     zstd, huff0, lz4, memcpy (default: all that this build has), or none\n"
    "\n"
    "how\n"
    "  --threads N,...       default: 1 and the number of processors; 1 is pinned to one processor\n"
    "  --destination NAME,...  reused: one buffer of a block's size, which stays in the cache; fresh:\n"
    "                        memory of mmap that was never touched, for each turn, with its page faults\n"
    "                        in the time (default: both)\n"
    "  --rounds N            default 7\n"
    "  --json                an array of objects, one for each of ours, instead of the table\n"
    "  --help\n";

struct options {
    char *sets, *kernels, *beside, *threads, *destinations;
    const char *models[MAX_LIST];
    size_t n_models;
    size_t set_bytes, block_bytes;
    unsigned n_rounds;
    bool as_json, with_checksum;

    struct bench_contender contenders[BENCH_MAX_CONTENDERS];
    size_t n_contenders;
    unsigned thread_numbers[MAX_LIST];
    size_t n_thread_numbers;
    enum bench_destination destination_list[2];
    size_t n_destinations;
};

static int usage(const char *what, const char *value)
{
    fprintf(stderr, "bench_codec: %s%s (--help tells more)\n", what, value);
    return 2;
}

/* Zero: not a number within the limits. */
static unsigned long parse_number(const char *text, unsigned long min, unsigned long max)
{
    char *end;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    if (end != text && (*end == 'K' || *end == 'k') && value <= max) {
        value *= 1024;
        end++;
    }
    return errno != 0 || end == text || *end != '\0' || *text == '-' || value < min || value > max ? 0
                                                                                                   : value;
}

static bool add_contender(struct options *options, struct bench_contender contender)
{
    if (options->n_contenders == BENCH_MAX_CONTENDERS)
        return false;
    options->contenders[options->n_contenders++] = contender;
    return true;
}

static bool add_ours(struct options *options, const struct entro_pivot_kernels *kernels)
{
    return add_contender(options, bench_ours(kernels, false)) &&
           (!options->with_checksum || add_contender(options, bench_ours(kernels, true)));
}

static int choose_kernels(struct options *options)
{
    char *rest = NULL;
    for (char *name = strtok_r(options->kernels, ",", &rest); name != NULL;
         name = strtok_r(NULL, ",", &rest)) {
        bool is_all = strcmp(name, "all") == 0;
        const struct entro_pivot_kernels *kernels = strcmp(name, "best") == 0 ? entro_pivot_kernels_best()
                                                    : is_all                  ? entro_pivot_kernels_at(0)
                                                             : entro_pivot_kernels_by_name(name);
        if (kernels == NULL)
            return usage("this machine does not run the kernels ", name);
        for (unsigned i = 1; kernels != NULL; kernels = is_all ? entro_pivot_kernels_at(i++) : NULL) {
            if (!add_ours(options, kernels))
                return usage("too many contenders", "");
        }
    }
    return 0;
}

static int choose_others(struct options *options)
{
    char all[] = "zstd,huff0,lz4,memcpy", *rest = NULL;
    bool is_default = options->beside == NULL;
    for (char *name = strtok_r(is_default ? all : options->beside, ",", &rest); name != NULL;
         name = strtok_r(NULL, ",", &rest)) {
        struct bench_contender contender;
        if (strcmp(name, "none") == 0)
            continue;
        if (!bench_other(&contender, name))
            return usage("no such contender: ", name);
        if (contender.coder == NULL)
            fprintf(stderr, "bench_codec: built without %s\n", name);
        else if (!add_contender(options, contender))
            return usage("too many contenders", "");
    }
    return 0;
}

static int choose_how(struct options *options)
{
    char *rest = NULL;
    if (options->threads == NULL) {
        options->thread_numbers[options->n_thread_numbers++] = 1;
        if (entro_pool_default_threads() > 1)
            options->thread_numbers[options->n_thread_numbers++] = entro_pool_default_threads();
    } else {
        for (char *number = strtok_r(options->threads, ",", &rest); number != NULL;
             number = strtok_r(NULL, ",", &rest)) {
            unsigned long n = parse_number(number, 1, 1024);
            if (n == 0 || options->n_thread_numbers == MAX_LIST)
                return usage("not a number of threads: ", number);
            options->thread_numbers[options->n_thread_numbers++] = (unsigned)n;
        }
    }
    for (char *name = strtok_r(options->destinations, ",", &rest); name != NULL;
         name = strtok_r(NULL, ",", &rest)) {
        bool is_fresh = strcmp(name, "fresh") == 0;
        if ((!is_fresh && strcmp(name, "reused") != 0) || options->n_destinations == 2)
            return usage("no such destination: ", name);
        options->destination_list[options->n_destinations++] = is_fresh ? BENCH_FRESH : BENCH_REUSED;
    }
    return 0;
}

/* Whether the item of a list is the name, a beginning of it, or "all". */
static bool item_is(const char *item, size_t item_size, const char *name)
{
    return (item_size == 3 && strncmp(item, "all", 3) == 0) ||
           (item_size > 0 && strncmp(item, name, item_size) == 0);
}

static bool is_listed(const char *list, const char *name)
{
    while (*list != '\0') {
        size_t size = strcspn(list, ",");
        if (item_is(list, size, name))
            return true;
        list += size + (list[size] == ',');
    }
    return false;
}

/* What a list has that is no set; NULL: nothing. */
static const char *unknown_set(const char *list)
{
    for (size_t size; *list != '\0'; list += size + (list[size] == ',')) {
        size = strcspn(list, ",");
        bool is_known = size == 4 && strncmp(list, "none", 4) == 0;
        for (unsigned i = 0; bench_set_name(i) != NULL; i++)
            is_known |= item_is(list, size, bench_set_name(i));
        if (!is_known)
            return list;
    }
    return NULL;
}

static int parse(struct options *options, int argc, char **argv)
{
    enum {
        SETS = 1,
        SIZE,
        MODEL,
        BLOCK_SIZE,
        KERNEL,
        LENGTHS,
        CHECKSUM,
        BESIDE,
        THREADS,
        DESTINATION,
        ROUNDS,
        JSON,
        HELP
    };
    static const struct option names[] = {{"sets", required_argument, NULL, SETS},
                                          {"size", required_argument, NULL, SIZE},
                                          {"model", required_argument, NULL, MODEL},
                                          {"block-size", required_argument, NULL, BLOCK_SIZE},
                                          {"kernel", required_argument, NULL, KERNEL},
                                          {"lengths", required_argument, NULL, LENGTHS},
                                          {"checksum", no_argument, NULL, CHECKSUM},
                                          {"beside", required_argument, NULL, BESIDE},
                                          {"threads", required_argument, NULL, THREADS},
                                          {"destination", required_argument, NULL, DESTINATION},
                                          {"rounds", required_argument, NULL, ROUNDS},
                                          {"json", no_argument, NULL, JSON},
                                          {"help", no_argument, NULL, HELP},
                                          {NULL, 0, NULL, 0}};
    int option;
    while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
        switch (option) {
        case SETS:
            options->sets = optarg;
            break;
        case SIZE:
            if ((options->set_bytes = parse_number(optarg, 1, 4096) << 20) == 0)
                return usage("not a size of 1 to 4096 MiB: ", optarg);
            break;
        case MODEL:
            if (options->n_models == MAX_LIST)
                return usage("too many models", "");
            options->models[options->n_models++] = optarg;
            break;
        case BLOCK_SIZE:
            if ((options->block_bytes = parse_number(optarg, 4096, ENTRO_BLOCK_MAX_BYTES)) == 0)
                return usage("not a block size: ", optarg);
            break;
        case KERNEL:
            options->kernels = optarg;
            break;
        case LENGTHS:
            if (!bench_lengths_choose(optarg))
                return usage("no such way to choose lengths: ", optarg);
            break;
        case CHECKSUM:
            options->with_checksum = true;
            break;
        case BESIDE:
            options->beside = optarg;
            break;
        case THREADS:
            options->threads = optarg;
            break;
        case DESTINATION:
            options->destinations = optarg;
            break;
        case ROUNDS:
            if ((options->n_rounds = (unsigned)parse_number(optarg, 1, 1000)) == 0)
                return usage("not a number of rounds: ", optarg);
            break;
        case JSON:
            options->as_json = true;
            break;
        case HELP:
            fputs(help, stdout);
            exit(0);
        default:
            return usage("unknown option", "");
        }
    }
    if (optind < argc)
        return usage("unexpected argument: ", argv[optind]);
    if (unknown_set(options->sets) != NULL)
        return usage("no such set: ", unknown_set(options->sets));
    int code = choose_kernels(options);
    if (code == 0)
        code = choose_others(options);
    return code == 0 ? choose_how(options) : code;
}

static enum entro_error run_set(const struct options *options, const struct bench_set *set,
                                struct entro_message *message)
{
    struct bench_figures figures[BENCH_MAX_CONTENDERS];
    for (size_t i = 0; i < options->n_thread_numbers; i++) {
        for (size_t j = 0; j < options->n_destinations; j++) {
            struct bench_request request = {.set = set,
                                            .contenders = options->contenders,
                                            .n_contenders = options->n_contenders,
                                            .block_bytes = options->block_bytes,
                                            .destination = options->destination_list[j],
                                            .n_threads = options->thread_numbers[i],
                                            .n_rounds = options->n_rounds};
            enum entro_error error = bench_time(&request, figures, message);
            if (error != ENTRO_OK)
                return error;
            bench_print_request(options->as_json, &request, figures, bench_processor());
        }
    }
    return ENTRO_OK;
}

static enum entro_error run(const struct options *options, struct entro_message *message)
{
    struct bench_set set;
    enum entro_error error = ENTRO_OK;
    for (unsigned i = 0; bench_set_name(i) != NULL && error == ENTRO_OK; i++) {
        if (!is_listed(options->sets, bench_set_name(i)))
            continue;
        if ((error = bench_set_generate(&set, i, options->set_bytes)) != ENTRO_OK)
            return entro_fail(message, error, "out of memory for %s", bench_set_name(i));
        error = run_set(options, &set, message);
        bench_set_free(&set);
    }
    for (size_t i = 0; i < 2 * options->n_models && error == ENTRO_OK; i++) {
        error = bench_set_load(&set, options->models[i / 2], i % 2 == 0 ? 8 : 4, MODEL_MAX_BYTES, message);
        if (error != ENTRO_OK)
            return error;
        if (set.n_streams > 0)
            error = run_set(options, &set, message);
        bench_set_free(&set);
    }
    return error;
}

int main(int argc, char **argv)
{
    char all[] = "all", best[] = "best", both[] = "reused,fresh";
    struct options options = {.sets = all,
                              .kernels = best,
                              .destinations = both,
                              .set_bytes = (size_t)64 << 20,
                              .block_bytes = (size_t)1 << ENTRO_BLOCK_LOG2_DEFAULT,
                              .n_rounds = 7};
    struct entro_message message = {""};
    int code = parse(&options, argc, argv);
    if (code != 0)
        return code;
    bench_print_head(options.as_json, bench_processor());
    if (run(&options, &message) != ENTRO_OK) {
        fprintf(stderr, "bench_codec: %s\n", message.text);
        code = 1;
    }
    bench_print_end(options.as_json);
    return code;
}
