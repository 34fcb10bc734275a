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

#define MAX_THREADS 1024

const char entro_mkentrofs_usage[] = "usage: mkentrofs [options] SOURCE IMAGE\n"
                                     "mkentrofs --help explains them.\n";

const char entro_mkentrofs_help[] =
    "mkentrofs - compress a model into one image that entrofs mounts\n"
    "\n"
    "usage: mkentrofs [options] SOURCE IMAGE\n"
    "\n"
    "SOURCE is a Hugging Face model folder (one .safetensors file or shards with an index), a folder with "
    ".gguf files,\n"
    "or a single .safetensors, .gguf or .npy file. IMAGE is written whole or not at all.\n"
    "\n"
    "examples\n"
    "  mkentrofs ~/models/SmolLM2-135M smol.entrofs           8-bit codes, entropy-coded: 5 to 6 bits a "
    "weight\n"
    "  mkentrofs --scheme lossless model.gguf model.entrofs   not a bit changes; about 30 % less for BF16\n"
    "  mkentrofs --keep '*embed*' --keep lm_head.weight DIR IMAGE\n"
    "                                                         these tensors stay as they are\n"
    "  entrofs smol.entrofs /mnt/smol                         and mount it\n"
    "\n"
    "quantization\n"
    "  --scheme mixed|lossless  mixed (default): one scale and zero point a tensor; lossless: the source's "
    "bytes\n"
    "  --bits 8|4               bits of a code (default 8); 4 destroys the quality of most models in this "
    "scheme\n"
    "  --scale-bits N           significant bits of a scale, 1 to 24 (default 7: exact in more file types)\n"
    "  --keep PATTERN           keep tensors whose name matches as they are; may be given again\n"
    "  Always kept: tensors of one dimension, of fewer than 4096 elements, with NaN or infinities, and of "
    "other dtypes\n"
    "  than F32, F16, BF16 and GGUF's Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K, Q6_K.\n"
    "\n"
    "files\n"
    "  --exclude PATTERN        leave out files and folders whose path or name matches; may be given again\n"
    "  --force                  replace IMAGE if it exists\n"
    "  --block-size SIZE        4K to 128K decoded bytes a block, a power of two (default 64K)\n"
    "  Links are followed. Names that start with .git or .entrofs-, and .cache, stay out.\n"
    "\n"
    "running\n"
    "  -t, --threads N          default: all processors; the image does not depend on it\n"
    "  --report table|json      what stdout gets in the end (default table)\n"
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
    OPTION_BITS,
    OPTION_SCALE_BITS,
    OPTION_KEEP,
    OPTION_EXCLUDE,
    OPTION_FORCE,
    OPTION_BLOCK_SIZE,
    OPTION_REPORT,
    OPTION_QUIET,
    OPTION_VERSION,
};

static const struct option long_options[] = {
    {"scheme", required_argument, NULL, OPTION_SCHEME},
    {"bits", required_argument, NULL, OPTION_BITS},
    {"scale-bits", required_argument, NULL, OPTION_SCALE_BITS},
    {"keep", required_argument, NULL, OPTION_KEEP},
    {"exclude", required_argument, NULL, OPTION_EXCLUDE},
    {"force", no_argument, NULL, OPTION_FORCE},
    {"block-size", required_argument, NULL, OPTION_BLOCK_SIZE},
    {"threads", required_argument, NULL, 't'},
    {"report", required_argument, NULL, OPTION_REPORT},
    {"quiet", no_argument, NULL, OPTION_QUIET},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, OPTION_VERSION},
    {NULL, 0, NULL, 0},
};

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

static enum entro_error set_option(struct entro_mkentrofs_options *out, int code,
                                   struct entro_message *message)
{
    switch (code) {
    case OPTION_SCHEME:
        if (strcmp(optarg, "mixed") == 0)
            out->plan.treatment = ENTRO_TREATMENT_MIXED;
        else if (strcmp(optarg, "lossless") == 0)
            out->plan.treatment = ENTRO_TREATMENT_LOSSLESS;
        else
            return bad_value(message, "scheme", optarg, "mixed or lossless");
        break;
    case OPTION_BITS:
        if (!parse_number(optarg, 4, 8, &out->plan.bits) || (out->plan.bits != 8 && out->plan.bits != 4))
            return bad_value(message, "bits", optarg, "8 or 4");
        break;
    case OPTION_SCALE_BITS:
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
    case OPTION_REPORT:
        if (strcmp(optarg, "json") == 0)
            out->report = ENTRO_REPORT_JSON;
        else if (strcmp(optarg, "table") == 0)
            out->report = ENTRO_REPORT_TABLE;
        else
            return bad_value(message, "report", optarg, "table or json");
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
        .plan = {.treatment = ENTRO_TREATMENT_MIXED, .bits = 8, .scale_bits = ENTRO_SCALE_BITS_DEFAULT},
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
    optind = 0; /* GNU: start anew, so that it can be called again */
    while ((code = getopt_long(argc, argv, ":ht:", long_options, NULL)) != -1) {
        if (code == ':' || code == '?')
            error = bad_option(code, argv[optind - 1], message);
        else
            error = set_option(out, code, message);
        if (error)
            goto fail;
        if (out->action != ENTRO_MKENTROFS_BUILD)
            break;
    }
    out->plan.keeps = out->keeps;
    if (out->action != ENTRO_MKENTROFS_BUILD)
        return ENTRO_OK;
    if (argc - optind != 2) {
        error = entro_fail(message, ENTRO_ERROR_ARGUMENT,
                           argc - optind < 2 ? "SOURCE and IMAGE are needed"
                                             : "more than SOURCE and IMAGE were given");
        goto fail;
    }
    out->source_path = argv[optind];
    out->image_path = argv[optind + 1];
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
