/*
 * A FUSE server without an image: the tree of another directory (names and sizes), every file of constant
 * bytes from one hot buffer. What it delivers is the most that any FUSE server can; its session is set up as
 * that of entrofs (fs/fuse_ops.c, fs/serve.c), and its options try what entrofs might do otherwise.
 */
#define FUSE_USE_VERSION 312
#include <dirent.h>
#include <errno.h>
#include <float.h>
#include <fuse_lowlevel.h>
#include <getopt.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/bench_area.h"

#define REPLY_BYTES     (1U << 20)
#define HUGE_PAGE_BYTES (2U << 20)

/* What a decoded reply is decoded from, where --set names nothing else: the codes of an 8-bit tensor. */
#define DEFAULT_SET "gauss_5.7"
#define SET_BYTES   ((size_t)4 << 20)

/* How the reply's bytes come to be. */
enum reply {
    REPLY_CONSTANT, /* the one hot buffer, as it is */
    REPLY_MALLOC,   /* malloc, fill, reply, free */
    REPLY_KEPT,     /* fill a buffer that the thread keeps */
    REPLY_DECODED,  /* fill it by decoding stored blocks, checksum and all */
};

struct node {
    char *name;
    size_t parent;
    uint64_t size_bytes;
    bool is_folder;
};

static struct {
    struct node *nodes; /* node i is inode i + 1; never changes once the session runs */
    size_t n_nodes, n_room;
    char *bytes; /* REPLY_BYTES of them */
} tree;

/* The defaults are what entrofs does. */
static struct {
    enum reply reply;
    unsigned max_threads, max_background, max_readahead, max_read, work_ns_per_kib;
    bool clone_fd, splice, huge, no_async_read, no_keep_cache, auto_inval;
    const char *set;
} options = {.max_threads = 16, .max_background = 64, .set = DEFAULT_SET};

static _Thread_local char *kept;

static struct bench_area area; /* for decoded replies; never changes once the session runs */
static _Thread_local struct entro_pivot_scratch *scratch;
static atomic_size_t next_block;

static bool add_node(const char *name, size_t parent, const struct stat *facts)
{
    if (tree.n_nodes == tree.n_room) {
        size_t room = tree.n_room == 0 ? 64 : 2 * tree.n_room;
        struct node *nodes = reallocarray(tree.nodes, room, sizeof *nodes);
        if (nodes == NULL)
            return false;
        tree.nodes = nodes;
        tree.n_room = room;
    }
    char *copy = strdup(name);
    if (copy == NULL)
        return false;
    tree.nodes[tree.n_nodes++] = (struct node){.name = copy,
                                               .parent = parent,
                                               .size_bytes = (uint64_t)facts->st_size,
                                               .is_folder = S_ISDIR(facts->st_mode)};
    return true;
}

/* The folders and regular files of `path`, as children of node `parent`. */
static bool add_folder(const char *path, size_t parent)
{
    DIR *folder = opendir(path);
    if (folder == NULL)
        return false;
    bool ok = true;
    struct dirent *entry;
    while (ok && (entry = readdir(folder)) != NULL) {
        char child[PATH_MAX];
        struct stat facts;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        ok = snprintf(child, sizeof child, "%s/%s", path, entry->d_name) < (int)sizeof child &&
             lstat(child, &facts) == 0;
        if (ok && (S_ISDIR(facts.st_mode) || S_ISREG(facts.st_mode))) {
            ok = add_node(entry->d_name, parent, &facts);
            if (ok && S_ISDIR(facts.st_mode))
                ok = add_folder(child, tree.n_nodes - 1);
        }
    }
    closedir(folder);
    return ok;
}

static struct stat attributes_of(size_t i)
{
    const struct node *node = &tree.nodes[i];
    return (struct stat){.st_ino = i + 1,
                         .st_mode = node->is_folder ? S_IFDIR | 0555 : S_IFREG | 0444,
                         .st_nlink = 1,
                         .st_size = (off_t)node->size_bytes,
                         .st_blksize = 4096,
                         .st_blocks = (blkcnt_t)((node->size_bytes + 511) / 512)};
}

static void handle_init(void *userdata, struct fuse_conn_info *connection)
{
    (void)userdata;
    if (!options.auto_inval)
        connection->want &= ~(unsigned)FUSE_CAP_AUTO_INVAL_DATA;
    connection->want |=
        connection->capable & (FUSE_CAP_EXPLICIT_INVAL_DATA | FUSE_CAP_ASYNC_READ | FUSE_CAP_PARALLEL_DIROPS);
    if (options.no_async_read)
        connection->want &= ~(unsigned)FUSE_CAP_ASYNC_READ;
    if (options.splice)
        connection->want |= connection->capable & (FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE);
    connection->max_background = options.max_background;
    connection->congestion_threshold = options.max_background * 3 / 4;
    if (options.max_readahead != 0)
        connection->max_readahead = options.max_readahead;
    if (options.max_read != 0)
        connection->max_read = options.max_read;
}

static void handle_lookup(fuse_req_t request, fuse_ino_t parent, const char *name)
{
    struct fuse_entry_param entry = {.entry_timeout = DBL_MAX, .attr_timeout = DBL_MAX};
    for (size_t i = 1; i < tree.n_nodes && entry.ino == 0; i++)
        if (tree.nodes[i].parent + 1 == parent && strcmp(tree.nodes[i].name, name) == 0) {
            entry.ino = i + 1;
            entry.attr = attributes_of(i);
        }
    fuse_reply_entry(request, &entry);
}

static void handle_getattr(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *file)
{
    (void)file;
    struct stat attributes = attributes_of(inode - 1);
    fuse_reply_attr(request, &attributes, DBL_MAX);
}

static void handle_open(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *file)
{
    (void)inode;
    file->keep_cache = !options.no_keep_cache;
    file->noflush = 1;
    fuse_reply_open(request, file);
}

/* Keeps the processor busy, as decoding does. */
static void work_for(uint64_t nanoseconds)
{
    struct timespec start, time;
    if (nanoseconds == 0)
        return;
    clock_gettime(CLOCK_MONOTONIC, &start);
    do {
        clock_gettime(CLOCK_MONOTONIC, &time);
    } while ((uint64_t)((time.tv_sec - start.tv_sec) * 1000000000 + time.tv_nsec - start.tv_nsec) <
             nanoseconds);
}

static void reply_memory(fuse_req_t request, char *bytes, size_t size)
{
    if (!options.splice) {
        fuse_reply_buf(request, bytes, size);
        return;
    }
    struct fuse_bufvec buffer = FUSE_BUFVEC_INIT(size);
    buffer.buf[0].mem = bytes;
    fuse_reply_data(request, &buffer, FUSE_BUF_SPLICE_MOVE);
}

/* Fills a reply with the next blocks' bytes. */
static bool decode_blocks(char *bytes, size_t size)
{
    if (scratch == NULL && (scratch = entro_pivot_scratch_create(NULL)) == NULL)
        return false;
    bool ok = true;
    for (size_t done = 0; ok && done < size; done += BENCH_AREA_BLOCK_BYTES) {
        size_t i = atomic_fetch_add(&next_block, 1) % area.n_blocks;
        ok = entro_block_decode(area.pivot, area.blocks[i], area.places[i], (uint8_t *)bytes + done,
                                BENCH_AREA_BLOCK_BYTES, scratch) == ENTRO_OK;
    }
    return ok;
}

static void reply_bytes(fuse_req_t request, size_t size)
{
    char *bytes = NULL;
    switch (options.reply) {
    case REPLY_CONSTANT:
        reply_memory(request, tree.bytes, size);
        return;
    case REPLY_MALLOC:
        bytes = malloc(size);
        break;
    case REPLY_KEPT:
    case REPLY_DECODED:
        if (kept == NULL && (kept = aligned_alloc(HUGE_PAGE_BYTES, HUGE_PAGE_BYTES)) != NULL && options.huge)
            madvise(kept, HUGE_PAGE_BYTES, MADV_HUGEPAGE);
        bytes = kept;
        break;
    }
    if (bytes == NULL) {
        fuse_reply_err(request, ENOMEM);
        return;
    }
    if (options.reply != REPLY_DECODED) {
        memcpy(bytes, tree.bytes, size);
    } else if (!decode_blocks(bytes, size)) {
        fuse_reply_err(request, EIO);
        return;
    }
    work_for((uint64_t)options.work_ns_per_kib * size / 1024);
    reply_memory(request, bytes, size);
    if (options.reply == REPLY_MALLOC)
        free(bytes);
}

static void handle_read(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset,
                        struct fuse_file_info *file)
{
    (void)file;
    uint64_t end = tree.nodes[inode - 1].size_bytes;
    if (offset < 0 || (uint64_t)offset >= end)
        size = 0;
    else if (size > end - (uint64_t)offset)
        size = (size_t)(end - (uint64_t)offset);
    if (size > REPLY_BYTES)
        fuse_reply_err(request, EIO);
    else
        reply_bytes(request, size);
}

static void handle_readdir(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset,
                           struct fuse_file_info *file)
{
    (void)file;
    char *buffer = malloc(size);
    if (buffer == NULL) {
        fuse_reply_err(request, ENOMEM);
        return;
    }
    size_t used = 0;
    for (size_t i = offset > 0 ? (size_t)offset : 1; i < tree.n_nodes; i++) {
        if (tree.nodes[i].parent + 1 != inode)
            continue;
        struct stat attributes = attributes_of(i);
        size_t n = fuse_add_direntry(request, buffer + used, size - used, tree.nodes[i].name, &attributes,
                                     (off_t)i + 1);
        if (n > size - used)
            break;
        used += n;
    }
    fuse_reply_buf(request, buffer, used);
    free(buffer);
}

static const struct fuse_lowlevel_ops operations = {
    .init = handle_init,
    .lookup = handle_lookup,
    .getattr = handle_getattr,
    .open = handle_open,
    .read = handle_read,
    .readdir = handle_readdir,
};

static const struct option option_table[] = {
    {"max-threads", required_argument, NULL, 't'},
    {"max-background", required_argument, NULL, 'b'},
    {"max-readahead", required_argument, NULL, 'a'}, /* bytes; the kernel's offer stands where it is less */
    {"max-read", required_argument, NULL, 'r'},      /* bytes a request */
    {"reply", required_argument, NULL, 'y'},         /* constant, malloc, kept or decoded */
    {"set", required_argument, NULL, 'S'},           /* for decoded: one of bench_codec's */
    {"work", required_argument, NULL, 'w'},          /* ns for each KiB, unless the reply is constant */
    {"clone-fd", no_argument, NULL, 'c'},
    {"splice", no_argument, NULL, 's'},
    {"huge", no_argument, NULL, 'h'}, /* the kept buffer is one huge page */
    {"no-async-read", no_argument, NULL, 'n'},
    {"no-keep-cache", no_argument, NULL, 'k'},
    {"auto-inval", no_argument, NULL, 'i'},
    {0},
};

static const char usage[] =
    "Usage: null_server [OPTION...] LIKE_THIS_DIRECTORY MOUNTPOINT    (stays in the foreground)\n"
    "  --max-threads N      default 16\n"
    "  --max-background N   requests in flight (default 64)\n"
    "  --max-readahead N    bytes, where the kernel offers more\n"
    "  --max-read N         bytes a request (default: what the kernel offers)\n"
    "  --reply HOW          constant (default): one hot buffer; malloc: a copy in new memory; kept: a copy "
    "in\n"
    "                       memory that the thread keeps; decoded: stored blocks, checked and decoded "
    "there\n"
    "  --set NAME           what these blocks hold: a set of bench_codec (default " DEFAULT_SET ")\n"
    "  --huge               that memory is one huge page\n"
    "  --work NS            spends as much time on each KiB of a copy\n"
    "  --splice, --clone-fd, --no-async-read, --no-keep-cache, --auto-inval\n";

static bool parse_reply(const char *word)
{
    static const char *const words[] = {[REPLY_CONSTANT] = "constant",
                                        [REPLY_MALLOC] = "malloc",
                                        [REPLY_KEPT] = "kept",
                                        [REPLY_DECODED] = "decoded"};
    for (unsigned i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(words[i], word) == 0) {
            options.reply = (enum reply)i;
            return true;
        }
    return false;
}

static bool parse_options(int argc, char *argv[])
{
    int option;
    while ((option = getopt_long(argc, argv, "", option_table, NULL)) != -1) {
        unsigned number = optarg == NULL ? 0 : (unsigned)strtoul(optarg, NULL, 10);
        switch (option) {
        case 't':
            options.max_threads = number;
            break;
        case 'b':
            options.max_background = number;
            break;
        case 'a':
            options.max_readahead = number;
            break;
        case 'r':
            options.max_read = number;
            break;
        case 'y':
            if (!parse_reply(optarg))
                return false;
            break;
        case 'S':
            options.set = optarg;
            break;
        case 'w':
            options.work_ns_per_kib = number;
            break;
        case 'c':
            options.clone_fd = true;
            break;
        case 's':
            options.splice = true;
            break;
        case 'h':
            options.huge = true;
            break;
        case 'n':
            options.no_async_read = true;
            break;
        case 'k':
            options.no_keep_cache = true;
            break;
        case 'i':
            options.auto_inval = true;
            break;
        default:
            return false;
        }
    }
    return argc - optind == 2;
}

/* Encodes what decoded replies come from. */
static bool make_area(void)
{
    struct bench_set set;
    for (unsigned i = 0; bench_set_name(i) != NULL; i++) {
        if (strcmp(bench_set_name(i), options.set) != 0)
            continue;
        if (bench_set_generate(&set, i, SET_BYTES) != ENTRO_OK)
            return false;
        bool ok = bench_area_fill(&area, &set);
        bench_set_free(&set);
        return ok;
    }
    errno = EINVAL;
    return false;
}

static bool mount_and_serve(const char *mountpoint)
{
    char list[128];
    snprintf(list, sizeof list, "ro,default_permissions,fsname=null_server,subtype=null");
    if (options.max_read != 0)
        snprintf(list + strlen(list), sizeof list - strlen(list), ",max_read=%u", options.max_read);
    char *arguments_list[] = {"null_server", "-o", list, NULL};
    struct fuse_args arguments = FUSE_ARGS_INIT(3, arguments_list);
    struct fuse_session *session = fuse_session_new(&arguments, &operations, sizeof operations, NULL);
    struct fuse_loop_config *config = fuse_loop_cfg_create();
    bool ok = false;
    if (session == NULL || config == NULL || fuse_set_signal_handlers(session) != 0)
        goto out;
    if (fuse_session_mount(session, mountpoint) != 0)
        goto out;
    fuse_loop_cfg_set_max_threads(config, options.max_threads);
    fuse_loop_cfg_set_clone_fd(config, options.clone_fd);
    ok = fuse_session_loop_mt(session, config) >= 0;
    fuse_session_unmount(session);
    fuse_remove_signal_handlers(session);
out:
    if (config != NULL)
        fuse_loop_cfg_destroy(config);
    if (session != NULL)
        fuse_session_destroy(session);
    fuse_opt_free_args(&arguments);
    return ok;
}

int main(int argc, char *argv[])
{
    if (!parse_options(argc, argv)) {
        fputs(usage, stderr);
        return 2;
    }
    struct stat root;
    tree.bytes = malloc(REPLY_BYTES);
    bool ok = tree.bytes != NULL && stat(argv[optind], &root) == 0 && add_node("", SIZE_MAX, &root) &&
              add_folder(argv[optind], 0);
    if (!ok)
        fprintf(stderr, "null_server: %s: %s\n", argv[optind], strerror(errno));
    if (ok && options.reply == REPLY_DECODED) {
        ok = make_area();
        if (!ok)
            fprintf(stderr, "null_server: --set %s: %s\n", options.set, strerror(errno));
    }
    if (ok) {
        memset(tree.bytes, 0x5a, REPLY_BYTES);
        ok = mount_and_serve(argv[optind + 1]);
    }
    for (size_t i = 0; i < tree.n_nodes; i++)
        free(tree.nodes[i].name);
    free(tree.nodes);
    free(tree.bytes);
    bench_area_free(&area);
    return ok ? 0 : 1;
}
