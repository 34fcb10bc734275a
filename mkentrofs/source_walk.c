/*
 * Walks a source into a sorted list of its files. What is in them is looked at by source.c and the readers of
 * the model files' headers.
 */
#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "codec/image_rules.h"
#include "codec/writer.h"
#include "mkentrofs/source_internal.h"

/* Links can make a small folder look like a huge one; these limits end the walk with a message instead of a
 * full memory. */
#define MAX_PARTS   100000
#define MAX_FOLDERS 100000
#define MAX_DEPTH   64

/* A folder on the way from the source to where the walk is. */
struct ancestor {
    const struct ancestor *parent;
    dev_t device;
    ino_t inode;
    unsigned depth;
};

struct walk {
    struct entro_source_tree *tree;
    size_t capacity;
    size_t n_folders;
    const struct entro_source_options *options;
    bool image_exists;
    dev_t image_device;
    ino_t image_inode;
    const struct entro_monitor *monitor;
    struct entro_message *message;
};

/* Whether a path failed because there is nothing at its end: also a link in a circle, or a folder that is a
 * file. */
static bool leads_nowhere(int error_number)
{
    return error_number == ENOENT || error_number == ENOTDIR || error_number == ELOOP;
}

static enum entro_error no_memory(struct entro_message *message)
{
    return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "out of memory");
}

static bool is_excluded(const struct entro_source_options *options, const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *last = slash ? slash + 1 : path;
    for (size_t i = 0; i < options->n_excludes; i++)
        if (fnmatch(options->excludes[i], path, 0) == 0 || fnmatch(options->excludes[i], last, 0) == 0)
            return true;
    return false;
}

/* True where the file starts as an image does; sets *error where it cannot be read. */
static bool is_image(const struct walk *walk, const char *source_path, enum entro_error *error)
{
    struct entro_input input;
    uint8_t start[8];
    *error = entro_input_open(&input, source_path, NULL, walk->monitor, walk->message);
    if (*error)
        return false;
    if (input.identity.size_bytes >= sizeof start)
        *error = entro_input_read(&input, 0, sizeof start, start, walk->message);
    bool is =
        !*error && input.identity.size_bytes >= sizeof start && memcmp(start, ENTRO_MAGIC, sizeof start) == 0;
    entro_input_close(&input);
    return is;
}

/* Takes a regular file into the list, or leaves it out with a note. */
static enum entro_error add_file(struct walk *walk, const char *path, const char *source_path,
                                 const struct stat *status)
{
    struct entro_source_tree *tree = walk->tree;
    enum entro_error error;
    bool image = is_image(walk, source_path, &error);
    if (error)
        return error;
    if (walk->image_exists && status->st_dev == walk->image_device && status->st_ino == walk->image_inode) {
        if (!image)
            return entro_fail(walk->message, ENTRO_ERROR_EXISTS,
                              "%s is a file of the source: it will not be replaced",
                              walk->options->image_path);
        entro_monitor_note(walk->monitor, "skipped %s: the image to be replaced", path);
        return ENTRO_OK;
    }
    if (image)
        return entro_fail(walk->message, ENTRO_ERROR_UNSUPPORTED,
                          "%s is an entrofs image itself: leave it out with --exclude '%s'", source_path,
                          path);
    const char *fault = entro_path_fault(path, strlen(path));
    if (fault)
        return entro_fail(walk->message, ENTRO_ERROR_UNSUPPORTED, "%.200s: the path %s", path, fault);
    if (tree->n_parts == MAX_PARTS)
        return entro_fail(walk->message, ENTRO_ERROR_UNSUPPORTED, "%s: more than %d files",
                          walk->options->path, MAX_PARTS);
    if (tree->n_parts == walk->capacity) {
        size_t capacity = walk->capacity ? walk->capacity * 2 : 32;
        struct entro_part *parts = realloc(tree->parts, capacity * sizeof *parts);
        if (!parts)
            return no_memory(walk->message);
        tree->parts = parts;
        walk->capacity = capacity;
    }
    struct entro_part part = {.path = strdup(path),
                              .source_path = strdup(source_path),
                              .identity = entro_identity_of(status),
                              .kind = ENTRO_PART_PLAIN};
    if (!part.path || !part.source_path) {
        free(part.path);
        free(part.source_path);
        return no_memory(walk->message);
    }
    tree->parts[tree->n_parts++] = part;
    return ENTRO_OK;
}

static int compare_strings(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void free_names(char **names, size_t n_names)
{
    for (size_t i = 0; i < n_names; i++)
        free(names[i]);
    free(names);
}

/* All names in a folder but "." and "..", sorted: the order in which readdir gives them must not be seen in
 * the image. */
static enum entro_error list_folder(const char *path, char ***out, size_t *n_out,
                                    struct entro_message *message)
{
    char **names = NULL;
    size_t n_names = 0, capacity = 0;
    enum entro_error error = ENTRO_OK;
    DIR *folder = opendir(path);
    if (!folder)
        return entro_fail(message, ENTRO_ERROR_IO, "%s: cannot open the folder: %s", path, strerror(errno));
    for (;;) {
        errno = 0;
        struct dirent *entry = readdir(folder);
        if (!entry) {
            if (errno)
                error = entro_fail(message, ENTRO_ERROR_IO, "%s: cannot read the folder: %s", path,
                                   strerror(errno));
            break;
        }
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (n_names == MAX_PARTS) {
            error = entro_fail(message, ENTRO_ERROR_UNSUPPORTED, "%s: more than %d files", path, MAX_PARTS);
            break;
        }
        if (n_names == capacity) {
            capacity = capacity ? capacity * 2 : 32;
            char **grown = realloc(names, capacity * sizeof *names);
            if (!grown) {
                error = no_memory(message);
                break;
            }
            names = grown;
        }
        names[n_names] = strdup(entry->d_name);
        if (!names[n_names]) {
            error = no_memory(message);
            break;
        }
        n_names++;
    }
    closedir(folder);
    if (error) {
        free_names(names, n_names);
        return error;
    }
    if (n_names)
        qsort(names, n_names, sizeof *names, compare_strings);
    *out = names;
    *n_out = n_names;
    return ENTRO_OK;
}

static enum entro_error walk_folder(struct walk *walk, const char *path, const char *source_path,
                                    const struct ancestor *self);

static enum entro_error walk_entry(struct walk *walk, const char *path, const char *source_path,
                                   const struct ancestor *parent)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    if (is_excluded(walk->options, path)) {
        entro_monitor_note(walk->monitor, "skipped %s: excluded", path);
        return ENTRO_OK;
    }
    if (strncmp(name, ".git", 4) == 0 || strcmp(name, ".cache") == 0) {
        entro_monitor_note(walk->monitor, "skipped %s: hidden files of git and of download tools stay out",
                           path);
        return ENTRO_OK;
    }
    if (strncmp(name, ENTRO_TEMPORARY_PREFIX, strlen(ENTRO_TEMPORARY_PREFIX)) == 0) {
        entro_monitor_note(walk->monitor,
                           "skipped %s: an image that is being written, or never was completed", path);
        return ENTRO_OK;
    }
    struct stat status;
    if (stat(source_path, &status) != 0) {
        if (leads_nowhere(errno))
            return entro_fail(walk->message, ENTRO_ERROR_NOT_FOUND,
                              "%s: a link that leads nowhere, or a file that has just vanished (--exclude "
                              "'%s' leaves it out)",
                              source_path, path);
        return entro_fail(walk->message, ENTRO_ERROR_IO, "%s: %s", source_path, strerror(errno));
    }
    /* Names that the mount itself uses at its root. */
    if (!slash &&
        (strcmp(name, "tensors") == 0 || strcmp(name, "npy") == 0 || strcmp(name, "tensors.json") == 0))
        return entro_fail(walk->message, ENTRO_ERROR_UNSUPPORTED,
                          "%s: the mount has a %s of its own: leave this one out with --exclude '%s'",
                          source_path, name, name);
    if (S_ISREG(status.st_mode))
        return add_file(walk, path, source_path, &status);
    if (!S_ISDIR(status.st_mode)) {
        entro_monitor_note(walk->monitor, "skipped %s: neither a file nor a folder", path);
        return ENTRO_OK;
    }
    for (const struct ancestor *a = parent; a; a = a->parent)
        if (a->device == status.st_dev && a->inode == status.st_ino) {
            entro_monitor_note(walk->monitor, "skipped %s: a link to a folder that it lies in", path);
            return ENTRO_OK;
        }
    if (parent->depth == MAX_DEPTH)
        return entro_fail(walk->message, ENTRO_ERROR_UNSUPPORTED, "%s: more than %d folders deep",
                          source_path, MAX_DEPTH);
    struct ancestor self = {
        .parent = parent, .device = status.st_dev, .inode = status.st_ino, .depth = parent->depth + 1};
    return walk_folder(walk, path, source_path, &self);
}

static enum entro_error walk_folder(struct walk *walk, const char *path, const char *source_path,
                                    const struct ancestor *self)
{
    char **names = NULL;
    size_t n_names = 0;
    if (entro_monitor_cancelled(walk->monitor))
        return entro_fail(walk->message, ENTRO_ERROR_CANCELLED, "interrupted");
    if (++walk->n_folders > MAX_FOLDERS)
        return entro_fail(walk->message, ENTRO_ERROR_UNSUPPORTED, "%s: more than %d folders",
                          walk->options->path, MAX_FOLDERS);
    enum entro_error error = list_folder(source_path, &names, &n_names, walk->message);
    if (error)
        return error;
    for (size_t i = 0; i < n_names && !error; i++) {
        char *child = NULL, *source_child = NULL;
        if (asprintf(&child, "%s%s%s", path, *path ? "/" : "", names[i]) < 0)
            child = NULL;
        if (asprintf(&source_child, "%s%s%s", source_path, entro_has_suffix(source_path, "/") ? "" : "/",
                     names[i]) < 0)
            source_child = NULL;
        error =
            child && source_child ? walk_entry(walk, child, source_child, self) : no_memory(walk->message);
        free(child);
        free(source_child);
    }
    free_names(names, n_names);
    return error;
}

static int compare_parts(const void *a, const void *b)
{
    return strcmp(((const struct entro_part *)a)->path, ((const struct entro_part *)b)->path);
}

static enum entro_error walk_source(struct walk *walk)
{
    const char *path = walk->options->path;
    struct stat status;
    if (stat(path, &status) != 0)
        return entro_fail(walk->message, leads_nowhere(errno) ? ENTRO_ERROR_NOT_FOUND : ENTRO_ERROR_IO,
                          "%s: %s", path, strerror(errno));
    if (S_ISDIR(status.st_mode)) {
        struct ancestor root = {.parent = NULL, .device = status.st_dev, .inode = status.st_ino, .depth = 0};
        return walk_folder(walk, "", path, &root);
    }
    if (!S_ISREG(status.st_mode))
        return entro_fail(walk->message, ENTRO_ERROR_UNSUPPORTED, "%s: neither a file nor a folder", path);
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    if (entro_part_kind_of_name(name) == ENTRO_PART_PLAIN)
        return entro_fail(walk->message, ENTRO_ERROR_UNSUPPORTED,
                          "%s: neither a folder nor a .safetensors, .gguf or .npy file", path);
    return add_file(walk, name, path, &status);
}

enum entro_error entro_source_walk(struct entro_source_tree *tree, const struct entro_source_options *options,
                                   const struct entro_monitor *monitor, struct entro_message *message)
{
    struct walk walk = {.tree = tree, .options = options, .monitor = monitor, .message = message};
    struct stat status;
    if (options->image_path && stat(options->image_path, &status) == 0) {
        walk.image_exists = true;
        walk.image_device = status.st_dev;
        walk.image_inode = status.st_ino;
    }
    enum entro_error error = walk_source(&walk);
    if (!error && tree->n_parts)
        qsort(tree->parts, tree->n_parts, sizeof *tree->parts, compare_parts);
    return error;
}
