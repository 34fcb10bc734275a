/*
 * Handlers of the low-level interface; see fuse_ops.h. Every path of a handler ends in exactly one reply. The
 * tree never changes, so that the kernel may keep whatever it has learnt for as long as it likes.
 */
#include "fs/fuse_ops.h"

#include <assert.h>
#include <errno.h>
#include <float.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

static_assert(sizeof(fuse_ino_t) >= sizeof(uint64_t), "an inode number fits libfuse's");
static_assert(FUSE_ROOT_ID == ENTRO_INODE_ROOT, "the roots are one");

/* Entries and attributes never change; DBL_MAX is the longest that libfuse takes. */
#define FOREVER DBL_MAX

/* loaders read in order and with several threads: let the kernel keep more requests open than its default of
 * 12 */
#define MAX_BACKGROUND       64
#define CONGESTION_THRESHOLD 48

/* Power of two that O_DIRECT readers align to; more would turn each small tensor into a large read. */
#define BLOCK_SIZE 4096

static struct entro_mount *mount_of(fuse_req_t request)
{
    return fuse_req_userdata(request);
}

static const struct entro_node *node_of(fuse_req_t request, fuse_ino_t inode)
{
    return entro_namespace_node(mount_of(request)->names, inode);
}

static void fill_attributes(const struct entro_mount *mount, const struct entro_node *node,
                            struct stat *attributes)
{
    const struct entro_image_info *info = entro_image_info(entro_namespace_image(mount->names));
    *attributes = (struct stat){
        .st_ino = node->inode,
        .st_mode = node->is_folder ? S_IFDIR | 0555 : S_IFREG | 0444,
        .st_nlink = (nlink_t)(node->is_folder ? 2 + node->n_folders : 1),
        .st_uid = mount->owner,
        .st_gid = mount->group,
        .st_size = (off_t)node->size_bytes,
        .st_blksize = BLOCK_SIZE,
        .st_blocks = (blkcnt_t)((node->stored_bytes + 511) / 512),
    };
    attributes->st_mtim.tv_sec = info->mtime_seconds;
    attributes->st_mtim.tv_nsec = info->mtime_nanoseconds;
    attributes->st_atim = attributes->st_ctim = attributes->st_mtim;
}

static void fill_entry(const struct entro_mount *mount, const struct entro_node *node,
                       struct fuse_entry_param *entry)
{
    *entry = (struct fuse_entry_param){.ino = node->inode, .attr_timeout = FOREVER, .entry_timeout = FOREVER};
    fill_attributes(mount, node, &entry->attr);
}

static void set_wanted(struct fuse_conn_info *connection, unsigned capability)
{
    connection->want |= connection->capable & capability;
}

static void handle_init(void *userdata, struct fuse_conn_info *connection)
{
    struct entro_mount *mount = userdata;
    /* Nothing changes behind the kernel's back: no attributes are asked for on reads. */
    connection->want &= ~(unsigned)FUSE_CAP_AUTO_INVAL_DATA;
    set_wanted(connection, FUSE_CAP_EXPLICIT_INVAL_DATA | FUSE_CAP_ASYNC_READ | FUSE_CAP_PARALLEL_DIROPS |
                               FUSE_CAP_READDIRPLUS | FUSE_CAP_EXPORT_SUPPORT);
    connection->want &=
        ~(unsigned)FUSE_CAP_READDIRPLUS_AUTO; /* always with attributes: they cost nothing here */
    connection->max_background = MAX_BACKGROUND;
    connection->congestion_threshold = CONGESTION_THRESHOLD;
    connection->max_read = ENTRO_MAX_READ;
    mount->on_init(mount->context);
}

static void handle_lookup(fuse_req_t request, fuse_ino_t parent, const char *name)
{
    const struct entro_mount *mount = mount_of(request);
    const struct entro_node *folder = node_of(request, parent);
    if (folder == NULL || !folder->is_folder) {
        fuse_reply_err(request, folder == NULL ? ESTALE : ENOTDIR);
        return;
    }
    if (strlen(name) > NAME_MAX) {
        fuse_reply_err(request, ENAMETOOLONG);
        return;
    }
    const struct entro_node *node;
    if (strcmp(name, ".") == 0) /* asked for by NFS exports */
        node = folder;
    else if (strcmp(name, "..") == 0)
        node = node_of(request, folder->parent);
    else
        node = entro_namespace_lookup(mount->names, folder, name);
    struct fuse_entry_param entry = {.entry_timeout =
                                         FOREVER}; /* inode 0: the kernel remembers that there is none */
    if (node != NULL)
        fill_entry(mount, node, &entry);
    fuse_reply_entry(request, &entry);
}

static void handle_getattr(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *file)
{
    (void)file;
    const struct entro_node *node = node_of(request, inode);
    if (node == NULL) {
        fuse_reply_err(request, ESTALE);
        return;
    }
    struct stat attributes;
    fill_attributes(mount_of(request), node, &attributes);
    fuse_reply_attr(request, &attributes, FOREVER);
}

static void handle_open(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *file)
{
    const struct entro_node *node = node_of(request, inode);
    if (node == NULL) {
        fuse_reply_err(request, ESTALE);
    } else if (node->is_folder) {
        fuse_reply_err(request, EISDIR);
    } else if ((file->flags & O_ACCMODE) != O_RDONLY) {
        fuse_reply_err(request, EROFS);
    } else {
        file->keep_cache = 1;
        file->noflush = 1;
        fuse_reply_open(request, file);
    }
}

static int error_number(enum entro_error error)
{
    return error == ENTRO_ERROR_NO_MEMORY ? ENOMEM : EIO;
}

/*
 * A reply shorter than asked for makes the kernel believe that the file ends there, for everybody and for
 * good: exactly what was asked for (or what is left of the file), or an error.
 */
static void handle_read(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset,
                        struct fuse_file_info *file)
{
    (void)file;
    const struct entro_node *node = node_of(request, inode);
    if (node == NULL || node->is_folder) {
        fuse_reply_err(request, node == NULL ? ESTALE : EISDIR);
        return;
    }
    if (offset < 0 || (uint64_t)offset >= node->size_bytes || size == 0) {
        fuse_reply_buf(request, NULL, 0);
        return;
    }
    struct entro_reader *reader = mount_of(request)->reader;
    uint64_t left = node->size_bytes - (uint64_t)offset;
    struct entro_reply reply;
    enum entro_error error = entro_reader_serve(reader, node, (uint64_t)offset, size, &reply);
    if (error == ENTRO_OK && reply.size_bytes == (size < left ? size : (size_t)left))
        fuse_reply_buf(request, (const char *)reply.bytes, reply.size_bytes);
    else
        fuse_reply_err(request, error_number(error));
    entro_reader_done(reader, &reply);
}

static void handle_opendir(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *file)
{
    const struct entro_node *node = node_of(request, inode);
    if (node == NULL || !node->is_folder) {
        fuse_reply_err(request, node == NULL ? ESTALE : ENOTDIR);
        return;
    }
    file->keep_cache = 1;
    file->cache_readdir = 1;
    fuse_reply_open(request, file);
}

/* Entry `place` of a folder: "." and "..", then the children. NULL behind the last. */
static const struct entro_node *entry_at(const struct entro_mount *mount, const struct entro_node *folder,
                                         size_t place, const char **name)
{
    const struct entro_node *node = NULL;
    if (place < 2) {
        *name = place == 0 ? "." : "..";
        return entro_namespace_node(mount->names, place == 0 ? folder->inode : folder->parent);
    }
    if (place - 2 < folder->n_children) {
        node = entro_namespace_node(mount->names, folder->children[place - 2]);
        *name = node->name;
    }
    return node;
}

static size_t add_entry(fuse_req_t request, char *buffer, size_t size, const struct entro_node *node,
                        const char *name, off_t next, bool is_plus)
{
    struct fuse_entry_param entry;
    fill_entry(mount_of(request), node, &entry);
    if (!is_plus)
        return fuse_add_direntry(request, buffer, size, name, &entry.attr, next);
    if (name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0')))
        entry.ino = 0; /* not looked up: the kernel does not count it */
    return fuse_add_direntry_plus(request, buffer, size, name, &entry, next);
}

static void read_folder(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset, bool is_plus)
{
    const struct entro_mount *mount = mount_of(request);
    const struct entro_node *folder = node_of(request, inode);
    if (folder == NULL || !folder->is_folder || offset < 0) {
        fuse_reply_err(request, folder == NULL ? ESTALE : folder->is_folder ? EINVAL : ENOTDIR);
        return;
    }
    char *buffer = malloc(size);
    if (buffer == NULL) {
        fuse_reply_err(request, ENOMEM);
        return;
    }
    size_t used = 0;
    const char *name;
    const struct entro_node *node;
    for (size_t place = (size_t)offset; (node = entry_at(mount, folder, place, &name)) != NULL; place++) {
        size_t n = add_entry(request, buffer + used, size - used, node, name, (off_t)place + 1, is_plus);
        if (n > size - used)
            break;
        used += n;
    }
    fuse_reply_buf(request, buffer, used);
    free(buffer);
}

static void handle_readdir(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset,
                           struct fuse_file_info *file)
{
    (void)file;
    read_folder(request, inode, size, offset, false);
}

static void handle_readdirplus(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset,
                               struct fuse_file_info *file)
{
    (void)file;
    read_folder(request, inode, size, offset, true);
}

static void handle_statfs(fuse_req_t request, fuse_ino_t inode)
{
    (void)inode;
    const struct entro_mount *mount = mount_of(request);
    const struct entro_image_info *info = entro_image_info(entro_namespace_image(mount->names));
    struct statvfs facts = {
        .f_bsize = BLOCK_SIZE,
        .f_frsize = BLOCK_SIZE,
        .f_blocks = (fsblkcnt_t)((info->image_bytes + BLOCK_SIZE - 1) / BLOCK_SIZE),
        .f_files = (fsfilcnt_t)entro_namespace_n_nodes(mount->names),
        .f_namemax = NAME_MAX,
    };
    fuse_reply_statfs(request, &facts);
}

/* As getxattr(2): the size where size is 0, ERANGE where the value does not fit. */
static void reply_attribute(fuse_req_t request, const char *value, size_t length, size_t size, size_t slack)
{
    if (size == 0)
        fuse_reply_xattr(request, length + slack);
    else if (length > size)
        fuse_reply_err(request, ERANGE);
    else
        fuse_reply_buf(request, value, length);
}

static void handle_getxattr(fuse_req_t request, fuse_ino_t inode, const char *name, size_t size)
{
    /* ls, cp and others ask for ACLs and labels of each file; this answer makes them stop asking. */
    if (strncmp(name, "user.", 5) != 0) {
        fuse_reply_err(request, EOPNOTSUPP);
        return;
    }
    const struct entro_node *node = node_of(request, inode);
    char value[ENTRO_ATTRIBUTE_BYTES];
    size_t length;
    bool grows;
    if (node == NULL)
        fuse_reply_err(request, ESTALE);
    else if (!entro_attribute_value(&mount_of(request)->attributes, node, name, value, &length, &grows))
        fuse_reply_err(request, ENODATA);
    else
        reply_attribute(request, value, length, size, grows ? ENTRO_ATTRIBUTE_SLACK : 0);
}

static void handle_listxattr(fuse_req_t request, fuse_ino_t inode, size_t size)
{
    const struct entro_node *node = node_of(request, inode);
    if (node == NULL) {
        fuse_reply_err(request, ESTALE);
        return;
    }
    char list[ENTRO_ATTRIBUTE_BYTES];
    reply_attribute(request, list, entro_attribute_names(mount_of(request)->names, node, list), size, 0);
}

/* No flush (nothing is written), no lseek (the kernel's answer, all data, is right), no access
 * (default_permissions). */
const struct fuse_lowlevel_ops entro_fuse_ops = {
    .init = handle_init,
    .lookup = handle_lookup,
    .getattr = handle_getattr,
    .open = handle_open,
    .read = handle_read,
    .opendir = handle_opendir,
    .readdir = handle_readdir,
    .readdirplus = handle_readdirplus,
    .statfs = handle_statfs,
    .getxattr = handle_getxattr,
    .listxattr = handle_listxattr,
};
