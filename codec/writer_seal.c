/* The end of an image: index and superblock, made of what the writer has gathered. See writer_internal.h. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "codec/bytes.h"
#include "codec/image_index.h"
#include "codec/writer_internal.h"

/* The tables that are not kept in the form that the image has. */
struct sealing {
    struct entro_records strings, files, extents, tensors;
    uint32_t *tensor_numbers; /* from the order of adding to the order of names */
};

static int compare_tensors(const void *a, const void *b)
{
    const struct entro_pending_tensor *first = a;
    const struct entro_pending_tensor *second = b;
    int order = strcmp(first->name, second->name);
    /* Equal names are refused later; until then their order must not be left to chance. */
    return order != 0 ? order : (first->number > second->number) - (first->number < second->number);
}

static int compare_files(const void *a, const void *b)
{
    const struct entro_pending_file *first = a;
    const struct entro_pending_file *second = b;
    int order = strcmp(first->path, second->path);
    return order != 0
               ? order
               : (first->first_extent > second->first_extent) - (first->first_extent < second->first_extent);
}

static bool add_tensors(const struct entro_writer *writer, struct sealing *sealing)
{
    if (writer->tensors.n > 0)
        qsort(writer->tensors.bytes, writer->tensors.n, sizeof(struct entro_pending_tensor), compare_tensors);
    for (size_t i = 0; i < writer->tensors.n; i++) {
        const struct entro_pending_tensor *pending = entro_record(&writer->tensors, i);
        const struct entro_tensor *tensor = &pending->tensor;
        struct entro_disk_tensor disk = {
            .name_offset = (uint32_t)sealing->strings.n,
            .name_bytes = (uint32_t)strlen(pending->name),
            .dtype = (uint16_t)tensor->dtype,
            .scheme = (uint8_t)tensor->scheme,
            .bits = (uint8_t)tensor->bits,
            .rank = (uint8_t)tensor->rank,
            .stream = tensor->stream,
            .row_scale = tensor->row_scale,
            .column_scale = tensor->column_scale,
            .outliers = tensor->outliers,
            .scale = tensor->scale,
            .zero_point = tensor->zero_point,
            .entropy_bits = tensor->entropy_bits,
            .snr_db = tensor->snr_db,
        };
        memcpy(disk.shape, tensor->shape, sizeof disk.shape);
        sealing->tensor_numbers[pending->number] = (uint32_t)i;
        if (!entro_records_append(&sealing->strings, pending->name, disk.name_bytes) ||
            !entro_records_append(&sealing->tensors, &disk, 1))
            return false;
    }
    return true;
}

static bool add_files(const struct entro_writer *writer, struct sealing *sealing)
{
    if (writer->files.n > 0)
        qsort(writer->files.bytes, writer->files.n, sizeof(struct entro_pending_file), compare_files);
    for (size_t i = 0; i < writer->files.n; i++) {
        const struct entro_pending_file *pending = entro_record(&writer->files, i);
        struct entro_disk_file disk = {
            .path_offset = (uint32_t)sealing->strings.n,
            .path_bytes = (uint32_t)strlen(pending->path),
            .first_extent = (uint32_t)sealing->extents.n,
            .n_extents = pending->n_extents,
        };
        for (uint32_t j = 0; j < pending->n_extents; j++) {
            const struct entro_extent *extent = entro_record(&writer->extents, pending->first_extent + j);
            const struct entro_disk_extent disk_extent = {
                .kind = (uint8_t)extent->kind,
                .dtype = (uint16_t)extent->dtype,
                /* Of a view: mended once the tensors are in order. */
                .reference = extent->reference,
                .offset = extent->offset,
                .size_bytes = extent->size_bytes,
            };
            disk.size_bytes += extent->size_bytes;
            if (!entro_records_append(&sealing->extents, &disk_extent, 1))
                return false;
        }
        if (!entro_records_append(&sealing->strings, pending->path, disk.path_bytes) ||
            !entro_records_append(&sealing->files, &disk, 1))
            return false;
    }
    return true;
}

static void mend_views(struct sealing *sealing)
{
    for (size_t i = 0; i < sealing->extents.n; i++) {
        struct entro_disk_extent disk;
        memcpy(&disk, entro_record(&sealing->extents, i), sizeof disk);
        if (disk.kind != ENTRO_EXTENT_VIEW)
            continue;
        disk.reference = sealing->tensor_numbers[disk.reference];
        memcpy(entro_record(&sealing->extents, i), &disk, sizeof disk);
    }
}

/* Lays the tables out; returns the size of the index. */
static uint64_t place_tables(const struct entro_records *const tables[],
                             struct entro_disk_superblock *superblock)
{
    uint64_t offset = 0;
    for (unsigned i = 0; i < ENTRO_N_TABLES; i++) {
        superblock->tables[i] = (struct entro_disk_table){.offset = offset, .count = tables[i]->n};
        offset = entro_table_align(offset + (uint64_t)tables[i]->n * entro_table_record_bytes[i]);
    }
    return offset;
}

/* A reader's own validation of what is about to be written: what it would refuse is refused here, with its
 * words. */
static enum entro_error check_index(const struct entro_disk_superblock *superblock, const uint8_t *bytes,
                                    struct entro_message *message)
{
    struct entro_index index;
    enum entro_error error = entro_index_parse(&index, superblock, bytes, message);
    if (error == ENTRO_OK)
        entro_index_free(&index);
    return error == ENTRO_ERROR_FORMAT ? ENTRO_ERROR_ARGUMENT : error;
}

static enum entro_error write_index(struct entro_writer *writer, const struct sealing *sealing,
                                    struct entro_message *message)
{
    const struct entro_records *const tables[ENTRO_N_TABLES] = {
        [ENTRO_TABLE_STRINGS] = &sealing->strings, [ENTRO_TABLE_FILES] = &sealing->files,
        [ENTRO_TABLE_EXTENTS] = &sealing->extents, [ENTRO_TABLE_TENSORS] = &sealing->tensors,
        [ENTRO_TABLE_STREAMS] = &writer->streams,  [ENTRO_TABLE_LAYOUTS] = &writer->layouts.records,
        [ENTRO_TABLE_PLANES] = &writer->planes,    [ENTRO_TABLE_CODEBOOKS] = &writer->codebooks.records,
        [ENTRO_TABLE_BLOCKS] = &writer->blocks,
    };
    struct entro_output *output = &writer->output;
    struct entro_disk_superblock superblock = {
        .version = ENTRO_FORMAT_VERSION,
        .superblock_bytes = ENTRO_SUPERBLOCK_BYTES,
        .index_offset = output->size_bytes,
        .source = (uint32_t)writer->source,
    };
    memcpy(superblock.magic, ENTRO_MAGIC, sizeof superblock.magic);
    superblock.index_bytes = place_tables(tables, &superblock);
    superblock.image_bytes = superblock.index_offset + superblock.index_bytes;
    if (superblock.image_bytes > ENTRO_IMAGE_MAX_BYTES || superblock.index_bytes > ENTRO_INDEX_MAX_BYTES ||
        sealing->strings.n >= ENTRO_NONE || sealing->extents.n >= ENTRO_NONE ||
        writer->planes.n >= ENTRO_NONE)
        return entro_fail(message, ENTRO_ERROR_UNSUPPORTED, "%s: too much for one image", output->path);

    uint8_t *bytes = calloc(1, superblock.index_bytes + 1);
    if (bytes == NULL)
        return entro_fail(message, ENTRO_ERROR_NO_MEMORY, "%s: out of memory", output->path);
    for (unsigned i = 0; i < ENTRO_N_TABLES; i++)
        if (tables[i]->n > 0)
            memcpy(bytes + superblock.tables[i].offset, tables[i]->bytes,
                   tables[i]->n * entro_table_record_bytes[i]);
    XXH128_canonical_t digest;
    XXH128_canonicalFromHash(&digest, XXH3_128bits(bytes, superblock.index_bytes));
    memcpy(superblock.index_xxh3_128, digest.digest, sizeof superblock.index_xxh3_128);
    superblock.xxh3_64 = XXH3_64bits(&superblock, offsetof(struct entro_disk_superblock, xxh3_64));

    enum entro_error error = check_index(&superblock, bytes, message);
    if (error == ENTRO_OK)
        error = entro_output_append(output, bytes, superblock.index_bytes, message);
    if (error == ENTRO_OK)
        error = entro_output_write_at(output, &superblock, sizeof superblock, 0, message);
    free(bytes);
    return error;
}

enum entro_error entro_writer_seal(struct entro_writer *writer, struct entro_message *message)
{
    struct sealing sealing = {
        .strings.record_bytes = 1,
        .files.record_bytes = sizeof(struct entro_disk_file),
        .extents.record_bytes = sizeof(struct entro_disk_extent),
        .tensors.record_bytes = sizeof(struct entro_disk_tensor),
    };
    enum entro_error error = ENTRO_OK;
    sealing.tensor_numbers = malloc((writer->tensors.n + 1) * sizeof *sealing.tensor_numbers);
    if (sealing.tensor_numbers == NULL || !add_files(writer, &sealing) || !add_tensors(writer, &sealing)) {
        error = entro_fail(message, ENTRO_ERROR_NO_MEMORY, "%s: out of memory", writer->output.path);
    } else {
        mend_views(&sealing);
        error = write_index(writer, &sealing, message);
    }
    free(sealing.tensor_numbers);
    free(sealing.strings.bytes);
    free(sealing.files.bytes);
    free(sealing.extents.bytes);
    free(sealing.tensors.bytes);
    return error;
}
