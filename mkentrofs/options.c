/*
 * Parses the command line. The man page (mkentrofs.1) says the same as the help text, at more length.
 */
#include "mkentrofs/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "codec/format.h"
#include "codec/pool.h"
#include "codec/quantize.h"
#include "mkentrofs/allocation.h"

#define MAX_THREADS 1024

const char entro_mkentrofs_usage[] = "usage: mkentrofs [options] SOURCE IMAGE\n"
                                     "mkentrofs --help explains them.\n";

const char entro_mkentrofs_help[] =
    "mkentrofs - compress a model into one image that entrofs mounts\n"
    "\n"
    "usage: mkentrofs [options] SOURCE IMAGE\n"
    "       mkentrofs --plan [options] SOURCE\n"
    "\n"
    "SOURCE is a Hugging Face model folder (one .safetensors file or shards with an index), a folder with "
    ".gguf files,\n"
    "or a single .safetensors, .gguf or .npy file. IMAGE is written whole or not at all.\n"
    "\n"
    "examples\n"
    "  mkentrofs ~/models/SmolLM2-135M smol.entrofs           5.5 bits a weight, hardly to be told from the "
    "source\n"
    "  mkentrofs --quality small DIR IMAGE                    4.1 bits a weight; --bpw 3.7 is any number you "
    "like\n"
    "  mkentrofs --scheme lossless model.gguf model.entrofs   not a bit changes; about 30 % less for BF16\n"
    "  mkentrofs --keep '*embed*' --keep lm_head.weight DIR IMAGE\n"
    "                                                         these tensors stay as they are\n"
    "  entrofs smol.entrofs /mnt/smol                         and mount it\n"
    "\n"
    "quantization\n"
    "  --quality NAME           near-lossless (6.6 bits a weight), high (5.5, the default), medium (4.9), "
    "small (4.1)\n"
    "  --bpw BITS               2.5 to 8 bits a weight, everything included; under 3.5 quality suffers\n"
    "  --scheme NAME            balanced (default): rows and columns balanced first, one step for the model, "
    "no weight clipped;\n"
    "                           mixed: EntroLLM's rule, a scale and zero point a tensor from its smallest "
    "and "
    "largest\n"
    "                           weight; lossless: the source's bytes\n"
    "  --imatrix FILE           importance matrix of the model: made by entrorun imatrix from a text, as "
    "good with\n"
    "                           0.4 bit less; by llama.cpp, with 0.15 to 0.3\n"
    "  --bits 8|4               bits of a code of the mixed scheme (default 8); 4 destroys most models\n"
    "  --scale-bits N           its scales' significant bits, 1 to 24 (default 7: exact in more file types)\n"
    "  --keep PATTERN           keep tensors whose name matches as they are; may be given again\n"
    "  Always kept: tensors of one dimension, of fewer than 4096 elements, with NaN or infinities, and of "
    "other dtypes\n"
    "  than F32, F16, BF16 and GGUF's Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K to Q6_K,\n"
    "  IQ4_NL, IQ4_XS.\n"
    "\n"
    "files\n"
    "  --exclude PATTERN        leave out files and folders whose path or name matches; may be given again\n"
    "  --force                  replace IMAGE if it exists\n"
    "  --block-size SIZE        4K to 128K decoded bytes a block, a power of two (default 64K)\n"
    "  Links are followed. Names that start with .git or .entrofs-, and .cache, stay out.\n"
    "\n"
    "running\n"
    "  -t, --threads N          default: all processors; the image does not depend on it\n"
    "  --plan                   write no image: say what every tensor would cost and lose at several sizes, "
    "and with one\n"
    "                           step a tensor, a row or a group of 128 at 8 and 4 bits\n"
    "  --report table|json      what stdout gets in the end (default table)\n"
    "  --report FILE.html       beside that, a page with everything to look at: where the bytes are, layer "
    "by layer,\n"
    "                           the codes' histograms, every tensor; html=FILE for other names\n"
    "  --quiet                  no progress, notes, warnings or table; errors only (and --report json where "
    "asked for)\n"
    "  -h, --help               this text\n"
    "  --version                the version\n"
    "\n"
    "exit status\n"
    "  0 the image is there   1 reading, writing or memory failed, or IMAGE exists   2 wrong usage\n"
    "  3 SOURCE cannot be used: malformed, unsupported, no weights   130 interrupted (SIGINT, SIGTERM, "
    "SIGHUP)\n";

enum option_code {
    OPTION_SCHEME = 256,
    OPTION_QUALITY,
    OPTION_BPW,
    OPTION_IMATRIX,
    OPTION_BITS,
    OPTION_SCALE_BITS,
    OPTION_KEEP,
    OPTION_EXCLUDE,
    OPTION_FORCE,
    OPTION_BLOCK_SIZE,
    OPTION_PLAN,
    OPTION_REPORT,
    OPTION_QUIET,
    OPTION_VERSION,
};

static const struct option long_options[] = {
    {"scheme", required_argument, NULL, OPTION_SCHEME},
    {"quality", required_argument, NULL, OPTION_QUALITY},
    {"bpw", required_argument, NULL, OPTION_BPW},
    {"imatrix", required_argument, NULL, OPTION_IMATRIX},
    {"bits", required_argument, NULL, OPTION_BITS},
    {"scale-bits", required_argument, NULL, OPTION_SCALE_BITS},
    {"keep", required_argument, NULL, OPTION_KEEP},
    {"exclude", required_argument, NULL, OPTION_EXCLUDE},
    {"force", no_argument, NULL, OPTION_FORCE},
    {"block-size", required_argument, NULL, OPTION_BLOCK_SIZE},
    {"threads", required_argument, NULL, 't'},
    {"plan", no_argument, NULL, OPTION_PLAN},
    {"report", required_argument, NULL, OPTION_REPORT},
    {"quiet", no_argument, NULL, OPTION_QUIET},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, OPTION_VERSION},
    {NULL, 0, NULL, 0},
};

bool entro_mkentrofs_has_source(enum entro_mkentrofs_action action)
{
    return action == ENTRO_MKENTROFS_BUILD || action == ENTRO_MKENTROFS_PLAN;
}

static bool parse_number(const char *text, unsigned long low, unsigned long high, unsigned *value)
{
    char *end;
    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    unsigned long number = strtoul(text, &end, 10);
    if (errno || *end != '\0' || number < low || number > high)
        return false;
    *value = (unsigned)number;
    return true;
}

/* "64K", "64k" or "65536". */
static bool parse_block_size(const char *text, unsigned *block_log2)
{
    char digits[16];
    unsigned size, unit = 1;
    size_t length = strlen(text);
    if (length == 0 || length >= sizeof digits)
        return false;
    memcpy(digits, text, length + 1);
    if (digits[length - 1] == 'K' || digits[length - 1] == 'k') {
        unit = 1024;
        digits[length - 1] = '\0';
    }
    if (!parse_number(digits, 1, ENTRO_BLOCK_MAX_BYTES / unit, &size))
        return false;
    for (unsigned log2 = ENTRO_BLOCK_LOG2_MIN; log2 <= ENTRO_BLOCK_LOG2_MAX; log2++)
        if (size * unit == 1U << log2) {
            *block_log2 = log2;
            return true;
        }
    return false;
}

static enum entro_error bad_value(struct entro_message *message, const char *option, const char *value,
                                  const char *allowed)
{
    return entro_fail(message, ENTRO_ERROR_ARGUMENT, "--%s %s: must be %s", option, value, allowed);
}

#define DEFAULT_BPW 5.5

static bool parse_quality(const char *text, double *bpw)
{
    for (size_t i = 0; i < ENTRO_N_QUALITIES; i++)
        if (strcmp(text, entro_qualities[i].name) == 0) {
            *bpw = entro_qualities[i].bpw;
            return true;
        }
    return false;
}

/* Digits and a point: no signs, exponents or names of numbers. */
static bool parse_bpw(const char *text, double *bpw)
{
    char *end;
    if (*text == '\0' || strspn(text, "0123456789.") != strlen(text))
        return false;
    *bpw = strtod(text, &end);
    return *end == '\0' && *bpw >= ENTRO_BPW_MIN && *bpw <= ENTRO_BPW_MAX;
}

/* FILE.html, or html=FILE for files with other names. */
static bool is_page(const char *text)
{
    size_t length = strlen(text);
    return strncmp(text, "html=", 5) == 0 ? length > 5
                                          : length > 5 && strcmp(text + length - 5, ".html") == 0;
}

/* The options that say how to quantize, and the scheme that each of them is of. */
enum quantizing {
    QUANTIZING_SCHEME = 1,
    QUANTIZING_BPW = 2,
    QUANTIZING_QUALITY = 4,
    QUANTIZING_BITS = 8,
    QUANTIZING_SCALE_BITS = 16,
    QUANTIZING_IMATRIX = 32,
};

/* --bits means the mixed scheme; what does not go together is refused. */
static enum entro_error settle_scheme(struct entro_mkentrofs_options *out, unsigned given,
                                      struct entro_message *message)
{
    const char *of_balanced = given & QUANTIZING_BPW       ? "--bpw"
                              : given & QUANTIZING_QUALITY ? "--quality"
                              : given & QUANTIZING_IMATRIX ? "--imatrix"
                                                           : NULL;
    const char *of_mixed = given & QUANTIZING_BITS         ? "--bits"
                           : given & QUANTIZING_SCALE_BITS ? "--scale-bits"
                                                           : NULL;
    if ((given & QUANTIZING_BPW) && (given & QUANTIZING_QUALITY))
        return entro_fail(message, ENTRO_ERROR_ARGUMENT,
                          "--bpw and --quality say the same: give one of them");
    if (of_balanced && of_mixed)
        return entro_fail(message, ENTRO_ERROR_ARGUMENT, "%s is of --scheme balanced, %s of --scheme mixed",
                          of_balanced, of_mixed);
    if (!(given & QUANTIZING_SCHEME) && of_mixed)
        out->plan.treatment = ENTRO_TREATMENT_MIXED;
    if (of_balanced && out->plan.treatment != ENTRO_TREATMENT_BALANCED)
        return entro_fail(message, ENTRO_ERROR_ARGUMENT, "%s is of --scheme balanced", of_balanced);
    if (of_mixed && out->plan.treatment != ENTRO_TREATMENT_MIXED)
        return entro_fail(message, ENTRO_ERROR_ARGUMENT, "%s is of --scheme mixed", of_mixed);
    return ENTRO_OK;
}

static enum entro_error set_option(struct entro_mkentrofs_options *out, int code, unsigned *given,
                                   struct entro_message *message)
{
    switch (code) {
    case OPTION_SCHEME:
        *given |= QUANTIZING_SCHEME;
        if (strcmp(optarg, "balanced") == 0)
            out->plan.treatment = ENTRO_TREATMENT_BALANCED;
        else if (strcmp(optarg, "mixed") == 0)
            out->plan.treatment = ENTRO_TREATMENT_MIXED;
        else if (strcmp(optarg, "lossless") == 0)
            out->plan.treatment = ENTRO_TREATMENT_LOSSLESS;
        else
            return bad_value(message, "scheme", optarg, "balanced, mixed or lossless");
        break;
    case OPTION_QUALITY:
        *given |= QUANTIZING_QUALITY;
        if (!parse_quality(optarg, &out->plan.bpw))
            return bad_value(message, "quality", optarg, "near-lossless, high, medium or small");
        break;
    case OPTION_BPW:
        *given |= QUANTIZING_BPW;
        if (!parse_bpw(optarg, &out->plan.bpw))
            return bad_value(message, "bpw", optarg, "a number of bits from 2.5 to 8");
        out->plan.bpw_is_asked = true;
        break;
    case OPTION_IMATRIX:
        *given |= QUANTIZING_IMATRIX;
        out->plan.imatrix_path = optarg;
        break;
    case OPTION_BITS:
        *given |= QUANTIZING_BITS;
        if (!parse_number(optarg, 4, 8, &out->plan.bits) || (out->plan.bits != 8 && out->plan.bits != 4))
            return bad_value(message, "bits", optarg, "8 or 4");
        break;
    case OPTION_SCALE_BITS:
        *given |= QUANTIZING_SCALE_BITS;
        if (!parse_number(optarg, 1, 24, &out->plan.scale_bits))
            return bad_value(message, "scale-bits", optarg, "1 to 24");
        break;
    case OPTION_KEEP:
        out->keeps[out->plan.n_keeps++] = optarg;
        break;
    case OPTION_EXCLUDE:
        out->excludes[out->n_excludes++] = optarg;
        break;
    case OPTION_FORCE:
        out->replace = true;
        break;
    case OPTION_BLOCK_SIZE:
        if (!parse_block_size(optarg, &out->block_log2))
            return bad_value(message, "block-size", optarg, "4K, 8K, 16K, 32K, 64K or 128K");
        break;
    case 't':
        if (!parse_number(optarg, 1, MAX_THREADS, &out->n_threads))
            return bad_value(message, "threads", optarg, "1 to 1024");
        break;
    case OPTION_PLAN:
        out->action = ENTRO_MKENTROFS_PLAN;
        break;
    case OPTION_REPORT:
        if (strcmp(optarg, "json") == 0)
            out->report = ENTRO_REPORT_JSON;
        else if (strcmp(optarg, "table") == 0)
            out->report = ENTRO_REPORT_TABLE;
        else if (is_page(optarg))
            out->page_path = strncmp(optarg, "html=", 5) == 0 ? optarg + 5 : optarg;
        else
            return bad_value(message, "report", optarg, "table, json or a FILE.html");
        break;
    case OPTION_QUIET:
        out->quiet = true;
        break;
    case 'h':
        out->action = ENTRO_MKENTROFS_HELP;
        break;
    case OPTION_VERSION:
        out->action = ENTRO_MKENTROFS_VERSION;
        break;
    default:
        break;
    }
    return ENTRO_OK;
}

/* Names the option that getopt_long stumbled over: `argument` is its own for long ones, optopt is the letter
 * of a short one. */
static enum entro_error bad_option(int code, const char *argument, struct entro_message *message)
{
    char letter[3] = {'-', (char)optopt, '\0'};
    if (strncmp(argument, "--", 2) != 0 && optopt > 0 && optopt < 256)
        argument = letter;
    if (code == ':')
        return entro_fail(message, ENTRO_ERROR_ARGUMENT, "option %s needs a value", argument);
    if (optopt >= 256)
        return entro_fail(message, ENTRO_ERROR_ARGUMENT, "option %s takes no value", argument);
    return entro_fail(message, ENTRO_ERROR_ARGUMENT, "unknown option %s", argument);
}

enum entro_error entro_mkentrofs_options_parse(struct entro_mkentrofs_options *out, int argc, char **argv,
                                               struct entro_message *message)
{
    *out = (struct entro_mkentrofs_options){
        .action = ENTRO_MKENTROFS_BUILD,
        .plan = {.treatment = ENTRO_TREATMENT_BALANCED,
                 .bpw = DEFAULT_BPW,
                 .bits = 8,
                 .scale_bits = ENTRO_SCALE_BITS_DEFAULT},
        .block_log2 = ENTRO_BLOCK_LOG2_DEFAULT,
        .n_threads = entro_pool_default_threads(),
        .report = ENTRO_REPORT_TABLE,
    };
    enum entro_error error = ENTRO_OK;
    /* No more patterns than arguments. */
    out->keeps = calloc((size_t)argc + 1, sizeof *out->keeps);
    out->excludes = calloc((size_t)argc + 1, sizeof *out->excludes);
    if (!out->keeps || !out->excludes) {
        error = entro_fail(message, ENTRO_ERROR_NO_MEMORY, "out of memory");
        goto fail;
    }
    int code;
    unsigned given = 0;
    optind = 0; /* GNU: start anew, so that it can be called again */
    while ((code = getopt_long(argc, argv, ":ht:", long_options, NULL)) != -1) {
        if (code == ':' || code == '?')
            error = bad_option(code, argv[optind - 1], message);
        else
            error = set_option(out, code, &given, message);
        if (error)
            goto fail;
        if (!entro_mkentrofs_has_source(out->action))
            break;
    }
    out->plan.keeps = out->keeps;
    if (!entro_mkentrofs_has_source(out->action))
        return ENTRO_OK;
    if ((error = settle_scheme(out, given, message)))
        goto fail;
    bool plans = out->action == ENTRO_MKENTROFS_PLAN;
    if (plans && argc - optind != 1) {
        error = entro_fail(message, ENTRO_ERROR_ARGUMENT,
                           argc - optind < 1 ? "SOURCE is needed"
                                             : "--plan takes SOURCE alone: it writes no image");
        goto fail;
    }
    if (!plans && argc - optind != 2) {
        error = entro_fail(message, ENTRO_ERROR_ARGUMENT,
                           argc - optind < 2 ? "SOURCE and IMAGE are needed"
                                             : "more than SOURCE and IMAGE were given");
        goto fail;
    }
    out->source_path = argv[optind];
    out->image_path = plans ? "--plan" : argv[optind + 1];
    if (*out->source_path == '\0' || *out->image_path == '\0') {
        error = entro_fail(message, ENTRO_ERROR_ARGUMENT, "SOURCE and IMAGE must not be empty");
        goto fail;
    }
    return ENTRO_OK;

fail:
    entro_mkentrofs_options_free(out);
    return error;
}

void entro_mkentrofs_options_free(struct entro_mkentrofs_options *options)
{
    free(options->keeps);
    free(options->excludes);
    *options = (struct entro_mkentrofs_options){0};
}
