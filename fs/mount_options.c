/* Options in one table beside their help; see mount_options.h. */
#include "fs/mount_options.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fs/reader.h"

enum meaning {
    IGNORED, /* for mount(8), or what the mount is anyway */
    KERNEL,  /* handed to libfuse */
    CACHE,
    READAHEAD,
    PREFETCH,
    LOCK,
    THREADS,
    FSNAME,
};

static const struct option_row {
    const char *name; /* with '=' where a value follows; with '*' at the end where anything does */
    enum meaning meaning;
} option_table[] = {
    {"prefetch=", PREFETCH},   {"lock_image", LOCK},
    {"cache=", CACHE},         {"readahead=", READAHEAD},
    {"max_threads=", THREADS}, {"fsname=", FSNAME},
    {"allow_other", KERNEL},   {"allow_root", KERNEL},
    {"dev", KERNEL},           {"nodev", KERNEL},
    {"suid", KERNEL},          {"nosuid", KERNEL},
    {"exec", KERNEL},          {"noexec", KERNEL},
    {"sync", KERNEL},          {"async", KERNEL},
    {"dirsync", KERNEL},       {"noatime", KERNEL},
    {"nodiratime", KERNEL},    {"norelatime", KERNEL},
    {"nostrictatime", KERNEL}, {"atime", IGNORED},
    {"diratime", IGNORED},     {"relatime", IGNORED},
    {"strictatime", IGNORED},  {"ro", IGNORED},
    {"rw", IGNORED}, /* what mount(8) says where nobody says anything: the mount is read-only all the same */
    {"defaults", IGNORED},     {"default_permissions", IGNORED},
    {"subtype=", IGNORED},     {"auto", IGNORED},
    {"noauto", IGNORED},       {"nofail", IGNORED},
    {"user", IGNORED},         {"user=", IGNORED},
    {"nouser", IGNORED},       {"users", IGNORED},
    {"nousers", IGNORED},      {"owner", IGNORED},
    {"group", IGNORED},        {"_netdev", IGNORED},
    {"comment=", IGNORED},     {"x-*", IGNORED},
    {"X-*", IGNORED},
};

const char entro_mount_help[] =
    "  -f                  stay in the foreground and log to stderr\n"
    "  -o OPTION[,...]     mount options:\n"
    "     cache=SIZE          memory for decoded blocks, with K, M or G (default 32M)\n"
    "     readahead=KIB       read-ahead of the kernel for this mount, where it may be set; 0 leaves it "
    "(default 1024)\n"
    "     prefetch=SIZE       where that may not be set: what is decoded ahead of readers, with K, M or G; 0 "
    "for none\n"
    "                         (default 8M with four processors or more, else 0)\n"
    "     lock_image          keep the compressed image in memory\n"
    "     max_threads=N       threads that answer requests at most (default: two a processor, at least 16)\n"
    "     fsname=NAME         the name in the list of mounts (default: the image's path)\n"
    "     allow_other         other users may read too\n"
    "     allow_root          root may read too\n"
    "     and those of mount(8): dev, suid, exec, noatime, ... and their opposites; ro is always on\n"
    "  -h, --help          print this\n"
    "  -V, --version       print the version\n";

static bool matches(const char *name, const char *option)
{
    size_t length = strlen(name);
    if (name[length - 1] == '*')
        return strncmp(name, option, length - 1) == 0;
    if (name[length - 1] == '=')
        return strncmp(name, option, length) == 0;
    return strcmp(name, option) == 0;
}

static const struct option_row *find_option(const char *option)
{
    for (size_t i = 0; i < sizeof option_table / sizeof option_table[0]; i++)
        if (matches(option_table[i].name, option))
            return &option_table[i];
    return NULL;
}

/* A number with an optional K, M or G; false where it is none or beyond `limit`. */
static bool parse_size(const char *text, uint64_t limit, bool has_unit, uint64_t *value)
{
    if (*text < '0' || *text > '9')
        return false;
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    unsigned shift = 0;
    if (has_unit && *end != '\0') {
        const char *units = "KMGkmg";
        const char *unit = strchr(units, *end++);
        if (unit == NULL)
            return false;
        shift = 10 * ((unsigned)(unit - units) % 3 + 1);
    }
    if (errno != 0 || *end != '\0' || number > limit >> shift)
        return false;
    *value = (uint64_t)number << shift;
    return true;
}

static enum entro_error bad_value(struct entro_message *message, const char *option)
{
    return entro_fail(message, ENTRO_ERROR_ARGUMENT, "bad value in mount option %s", option);
}

static enum entro_error out_of_memory(struct entro_message *message)
{
    return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "out of memory");
}

static enum entro_error add_kernel_option(struct entro_mount_options *options, const char *option,
                                          struct entro_message *message)
{
    size_t old_bytes = strlen(options->kernel), option_bytes = strlen(option);
    char *longer = realloc(options->kernel, old_bytes + option_bytes + 2);
    if (longer == NULL)
        return out_of_memory(message);
    options->kernel = longer;
    if (old_bytes > 0)
        longer[old_bytes++] = ',';
    memcpy(longer + old_bytes, option, option_bytes + 1);
    return ENTRO_OK;
}

static enum entro_error apply_option(struct entro_mount_options *options, const char *option,
                                     struct entro_message *message)
{
    const struct option_row *row = find_option(option);
    if (row == NULL)
        return entro_fail(message, ENTRO_ERROR_ARGUMENT, "unknown mount option %s", option);
    const char *value = strchr(option, '=');
    value = value == NULL ? "" : value + 1;
    uint64_t number = 0;
    switch (row->meaning) {
    case IGNORED:
        break;
    case KERNEL:
        return add_kernel_option(options, option, message);
    case CACHE:
        if (!parse_size(value, SIZE_MAX / 2, true, &number))
            return bad_value(message, option);
        options->cache_bytes = (size_t)number;
        break;
    case READAHEAD:
        if (!parse_size(value, 1 << 20, false, &number))
            return bad_value(message, option);
        options->readahead_kib = (unsigned)number;
        break;
    case PREFETCH:
        if (!parse_size(value, SIZE_MAX / 2, true, &number))
            return bad_value(message, option);
        options->prefetch_bytes = (size_t)number;
        break;
    case LOCK:
        options->lock_image = true;
        break;
    case THREADS:
        if (!parse_size(value, 1024, false, &number) || number == 0)
            return bad_value(message, option);
        options->max_threads = (unsigned)number;
        break;
    case FSNAME:
        if (*value == '\0')
            return bad_value(message, option);
        free(options->fsname);
        options->fsname = strdup(value);
        if (options->fsname == NULL)
            return out_of_memory(message);
        break;
    }
    return ENTRO_OK;
}

/* Takes the options of one -o apart; a backslash keeps a comma from separating. */
static enum entro_error apply_list(struct entro_mount_options *options, const char *list,
                                   struct entro_message *message)
{
    char *option = malloc(strlen(list) + 1);
    if (option == NULL)
        return out_of_memory(message);
    enum entro_error error = ENTRO_OK;
    while (error == ENTRO_OK && *list != '\0') {
        size_t length = 0;
        for (; *list != '\0' && *list != ','; list++) {
            if (*list == '\\' && list[1] != '\0')
                list++;
            option[length++] = *list;
        }
        option[length] = '\0';
        list += *list == ',';
        if (length > 0)
            error = apply_option(options, option, message);
    }
    free(option);
    return error;
}

static enum entro_error take_arguments(struct entro_mount_options *options, int n, char *const arguments[],
                                       struct entro_message *message)
{
    if (n < 2)
        return entro_fail(message, ENTRO_ERROR_ARGUMENT,
                          n == 0 ? "an image and a mount point are needed" : "a mount point is needed");
    if (n > 2)
        return entro_fail(message, ENTRO_ERROR_ARGUMENT, "too many arguments: %s", arguments[2]);
    options->image = strdup(arguments[0]);
    options->mountpoint = strdup(arguments[1]);
    return options->image == NULL || options->mountpoint == NULL ? out_of_memory(message) : ENTRO_OK;
}

/* What getopt_long did not know: a letter, perhaps in the middle of a word, or a whole word. */
static enum entro_error unknown_option(struct entro_message *message, char *const argv[])
{
    if (optopt > 0 && optopt <= UCHAR_MAX)
        return entro_fail(message, ENTRO_ERROR_ARGUMENT, "unknown option -%c", optopt);
    return entro_fail(message, ENTRO_ERROR_ARGUMENT, "unknown option %s", argv[optind - 1]);
}

enum entro_error entro_mount_options_parse(struct entro_mount_options *options, int argc, char *const argv[],
                                           struct entro_message *message)
{
    static const struct option long_options[] = {
        {"help", no_argument, NULL, 'h'}, {"version", no_argument, NULL, 'V'}, {NULL, 0, NULL, 0}};
    *options = (struct entro_mount_options){.cache_bytes = ENTRO_CACHE_BYTES_DEFAULT,
                                            .readahead_kib = ENTRO_READAHEAD_KIB_DEFAULT,
                                            .prefetch_bytes = ENTRO_PREFETCH_AUTOMATIC};
    options->kernel = calloc(1, 1);
    if (options->kernel == NULL)
        return out_of_memory(message);
    enum entro_error error = ENTRO_OK;
    int letter;
    optind = 0; /* starts over: the parser is called more than once in tests */
    opterr = 0;
    while (error == ENTRO_OK && (letter = getopt_long(argc, argv, ":fo:hV", long_options, NULL)) != -1) {
        switch (letter) {
        case 'f':
            options->foreground = true;
            break;
        case 'o':
            error = apply_list(options, optarg, message);
            break;
        case 'h':
            options->show_help = true;
            break;
        case 'V':
            options->show_version = true;
            break;
        case ':':
            error = entro_fail(message, ENTRO_ERROR_ARGUMENT, "%s needs a value", argv[optind - 1]);
            break;
        default:
            error = unknown_option(message, argv);
        }
    }
    if (error != ENTRO_OK || options->show_help || options->show_version)
        return error;
    return take_arguments(options, argc - optind, argv + optind, message);
}

void entro_mount_options_free(struct entro_mount_options *options)
{
    free(options->image);
    free(options->mountpoint);
    free(options->fsname);
    free(options->kernel);
    *options = (struct entro_mount_options){0};
}
