/* entrofsck: verifies, describes and extracts an image, without FUSE. Exit codes are those of fsck(8). See
 * entrofsck(1). */
#include <getopt.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "codec/pivot.h"
#include "codec/pool.h"
#include "codec/standard_files.h"
#include "fs/describe.h"
#include "fs/exit_codes.h"
#include "fs/extract.h"
#include "fs/verify.h"

#define MAX_THREADS 256

struct options {
    const char *image;
    const char *folder; /* of --extract, or NULL */
    bool info, json, force, quiet;
    unsigned n_threads;
};

static const char help[] =
    "Usage: entrofsck [OPTION...] IMAGE\n"
    "Verifies every checksum of an entrofs image and decodes all of it.\n\n"
    "      --info          describe image, files and tensors instead\n"
    "      --json          the same as JSON\n"
    "      --extract DIR   verify, then write the files of the mount to DIR\n"
    "      --force         replace files that exist in DIR\n"
    "  -j, --threads N     threads (default: one a processor)\n"
    "  -q, --quiet         print errors only\n"
    "  -h, --help          print this\n"
    "  -V, --version       print the version\n\n"
    "Exit code: 0 no errors, 4 errors (left uncorrected), 8 operational error, 16 usage, 32 cancelled.\n";

static atomic_int cancelled_by; /* signal number, or 0 */

static void on_signal(int number)
{
    atomic_store(&cancelled_by, number);
}

/* Lines on stderr, kept apart from the progress line. Used by several threads. */
struct console {
    pthread_mutex_t mutex; /* protects what follows and stderr */
    bool shows_progress;
    int percent;
};

static void print_line(void *context, const char *line)
{
    struct console *console = context;
    pthread_mutex_lock(&console->mutex);
    fprintf(stderr, "%sentrofsck: %s\n", console->shows_progress ? "\r\033[K" : "", line);
    console->percent = -1;
    pthread_mutex_unlock(&console->mutex);
}

static bool print_progress(void *context, uint64_t done_bytes, uint64_t total_bytes)
{
    struct console *console = context;
    int percent = total_bytes == 0 ? 100 : (int)((double)done_bytes / (double)total_bytes * 100);
    pthread_mutex_lock(&console->mutex);
    if (console->shows_progress && percent != console->percent) {
        fprintf(stderr, "\r\033[K%3d %% of %.1f MB", percent, (double)total_bytes / 1e6);
        console->percent = percent;
    }
    pthread_mutex_unlock(&console->mutex);
    return atomic_load(&cancelled_by) == 0;
}

static void clear_progress(struct console *console)
{
    if (console->shows_progress)
        fprintf(stderr, "\r\033[K");
}

static int complain(struct console *console, int code, const char *text)
{
    print_line(console, text);
    return code;
}

static int exit_code_of(enum entro_error error)
{
    switch (error) {
    case ENTRO_OK:
        return ENTRO_FSCK_OK;
    case ENTRO_ERROR_FORMAT:
    case ENTRO_ERROR_CHECKSUM:
        return ENTRO_FSCK_UNCORRECTED;
    case ENTRO_ERROR_CANCELLED:
        return ENTRO_FSCK_CANCELLED;
    default:
        return ENTRO_FSCK_OPERATIONAL;
    }
}

static int describe(const struct options *options, const struct entro_namespace *names,
                    struct console *console)
{
    enum entro_error error = options->json ? entro_describe_json(names, options->image, stdout)
                                           : entro_describe_text(names, options->image, stdout);
    if (error != ENTRO_OK)
        return complain(console, ENTRO_FSCK_OPERATIONAL, entro_error_name(error));
    if (fflush(stdout) != 0 || ferror(stdout))
        return complain(console, ENTRO_FSCK_OPERATIONAL, "cannot write to standard output");
    return ENTRO_FSCK_OK;
}

static int extract(const struct options *options, struct entro_extraction *extraction,
                   struct console *console)
{
    struct entro_message message;
    enum entro_error error = entro_extract(extraction, &message);
    clear_progress(console);
    if (error != ENTRO_OK)
        return complain(console, exit_code_of(error), message.text);
    if (!options->quiet)
        printf("extracted %llu files, %llu bytes, to %s%s", (unsigned long long)extraction->n_files,
               (unsigned long long)extraction->written_bytes, options->folder,
               extraction->n_damaged == 0 ? "\n" : "; ");
    if (!options->quiet && extraction->n_damaged > 0)
        printf("%llu damaged files left out\n", (unsigned long long)extraction->n_damaged);
    return extraction->n_damaged == 0 ? ENTRO_FSCK_OK : ENTRO_FSCK_UNCORRECTED;
}

static int verify(const struct options *options, const struct entro_namespace *names,
                  struct entro_reader *reader, struct entro_pool *pool, struct console *console)
{
    struct entro_verdict verdict;
    struct entro_message message;
    struct entro_report report = {print_line, console};
    struct entro_progress progress = {print_progress, console};
    int code = ENTRO_FSCK_OK;
    enum entro_error error = entro_verify(&verdict, reader, names, pool, &report, &progress, &message);
    clear_progress(console);
    if (error != ENTRO_OK) {
        code = complain(console, exit_code_of(error), message.text);
        goto out;
    }
    uint32_t n_streams = entro_image_info(entro_namespace_image(names))->n_streams;
    if (verdict.n_bad_streams > 0 || verdict.n_bad_views > 0) {
        code = ENTRO_FSCK_UNCORRECTED;
        fprintf(stderr, "entrofsck: %s: damaged: %u of %u streams, factors or outliers of %u more tensors\n",
                options->image, verdict.n_bad_streams, n_streams, verdict.n_bad_views);
    } else if (!options->quiet) {
        printf("%s: good: %u streams, %llu blocks, %llu bytes decoded\n", options->image, n_streams,
               (unsigned long long)entro_image_info(entro_namespace_image(names))->n_blocks,
               (unsigned long long)verdict.decoded_bytes);
    }
    if (options->folder != NULL) {
        struct entro_extraction extraction = {.reader = reader,
                                              .names = names,
                                              .pool = pool,
                                              .folder = options->folder,
                                              .replace = options->force,
                                              .bad_streams = verdict.bad_streams,
                                              .report = report,
                                              .progress = progress};
        int extract_code = extract(options, &extraction, console);
        code = extract_code > code ? extract_code : code;
    }
out:
    free(verdict.bad_streams);
    return code;
}

static int run(const struct options *options, struct console *console)
{
    struct entro_image *image = NULL;
    struct entro_namespace *names = NULL;
    struct entro_reader *reader = NULL;
    struct entro_pool *pool = NULL;
    struct entro_message message;
    int code;
    enum entro_error error = entro_image_open(&image, options->image, &message);
    if (error == ENTRO_OK)
        error = entro_namespace_create(&names, image, &message);
    if (error != ENTRO_OK) {
        code = complain(console, exit_code_of(error), message.text);
        goto out;
    }
    if (options->info) {
        code = describe(options, names, console);
        goto out;
    }
    error = entro_pool_create(&pool, options->n_threads);
    if (error == ENTRO_OK)
        error = entro_reader_create(&reader, names, ENTRO_CACHE_BYTES_DEFAULT,
                                    (struct entro_report){print_line, console});
    if (error != ENTRO_OK)
        code = complain(console, ENTRO_FSCK_OPERATIONAL, entro_error_name(error));
    else
        code = verify(options, names, reader, pool, console);
out:
    entro_reader_free(reader);
    entro_pool_free(pool);
    entro_namespace_free(names);
    entro_image_close(image);
    return code;
}

static int usage(const char *text, const char *what)
{
    fprintf(stderr, "entrofsck: %s%s\nUsage: entrofsck [OPTION...] IMAGE; entrofsck --help explains\n", text,
            what);
    return ENTRO_FSCK_USAGE;
}

/* What getopt_long did not know: a letter, perhaps in the middle of a word, or a whole word. */
static int unknown_option(char *argv[])
{
    const char letter[] = {'-', (char)optopt, '\0'};
    return usage("unknown option ", optopt > 0 && optopt <= UCHAR_MAX ? letter : argv[optind - 1]);
}

enum long_option { INFO = 256, JSON, EXTRACT, FORCE };

/* Returns an exit code, or -1 to go on. */
static int parse(struct options *options, int argc, char *argv[])
{
    static const struct option long_options[] = {
        {"info", no_argument, NULL, INFO},
        {"json", no_argument, NULL, JSON},
        {"extract", required_argument, NULL, EXTRACT},
        {"force", no_argument, NULL, FORCE},
        {"quiet", no_argument, NULL, 'q'},
        {"threads", required_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},
        {NULL, 0, NULL, 0},
    };
    int letter;
    char *end;
    opterr = 0;
    while ((letter = getopt_long(argc, argv, ":qj:hV", long_options, NULL)) != -1) {
        switch (letter) {
        case INFO:
            options->info = true;
            break;
        case JSON:
            options->info = options->json = true;
            break;
        case EXTRACT:
            options->folder = optarg;
            break;
        case FORCE:
            options->force = true;
            break;
        case 'q':
            options->quiet = true;
            break;
        case 'j': {
            unsigned long n = strtoul(optarg, &end, 10);
            if (*optarg < '0' || *optarg > '9' || *end != '\0' || n == 0 || n > MAX_THREADS)
                return usage("bad number of threads: ", optarg);
            options->n_threads = (unsigned)n;
            break;
        }
        case 'h':
            fputs(help, stdout);
            return ENTRO_FSCK_OK;
        case 'V':
            printf("entrofsck %s\n", ENTRO_VERSION);
            return ENTRO_FSCK_OK;
        case ':':
            return usage("a value is missing: ", argv[optind - 1]);
        default:
            return unknown_option(argv);
        }
    }
    if (argc - optind != 1)
        return usage(argc == optind ? "an image is needed" : "more than one image: ",
                     argc == optind ? "" : argv[optind + 1]);
    if (options->info && options->folder != NULL)
        return usage("--info and --extract exclude each other", "");
    options->image = argv[optind];
    return -1;
}

int main(int argc, char *argv[])
{
    if (!entro_keep_standard_files())
        return ENTRO_FSCK_OPERATIONAL;
    struct options options = {.n_threads = entro_pool_default_threads()};
    if (options.n_threads > MAX_THREADS)
        options.n_threads = MAX_THREADS;
    int code = parse(&options, argc, argv);
    if (code >= 0)
        return code;
    struct console console = {.mutex = PTHREAD_MUTEX_INITIALIZER,
                              .shows_progress = !options.quiet && isatty(STDERR_FILENO) == 1,
                              .percent = -1};
    struct entro_message message;
    if (entro_pivot_check_kernel(&message) != ENTRO_OK)
        return complain(&console, ENTRO_FSCK_USAGE, message.text);
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    /* A file that is too large and a reader that has gone are errors of a write: nothing half written stays.
     */
    signal(SIGXFSZ, SIG_IGN);
    if (options.folder != NULL)
        signal(SIGPIPE, SIG_IGN);
    return run(&options, &console);
}
