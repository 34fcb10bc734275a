/* Tables that grow while an image is written; see writer_internal.h. */
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "codec/bytes.h"
#include "codec/writer_internal.h"

bool entro_records_append(struct entro_records *array, const void *records, size_t n)
{
    if (n == 0)
        return true;
    if (n > SIZE_MAX / array->record_bytes / 4 - array->n)
        return false;
    if (array->n + n > array->capacity) {
        size_t capacity = array->capacity < 16 ? 16 : array->capacity;
        while (capacity < array->n + n)
            capacity += capacity / 2;
        uint8_t *bytes = realloc(array->bytes, capacity * array->record_bytes);
        if (bytes == NULL)
            return false;
        array->bytes = bytes;
        array->capacity = capacity;
    }
    uint8_t *target = array->bytes + array->n * array->record_bytes;
    if (records == NULL)
        memset(target, 0, n * array->record_bytes);
    else
        memcpy(target, records, n * array->record_bytes);
    array->n += n;
    return true;
}

/* The slot of an equal record, or the free one where it would go. */
static size_t find_slot(const struct entro_set *set, const void *record)
{
    size_t size = set->records.record_bytes;
    size_t slot = (size_t)XXH3_64bits(record, size) & (set->n_slots - 1);
    while (set->slots[slot] != 0 &&
           memcmp(entro_record(&set->records, set->slots[slot] - 1), record, size) != 0)
        slot = (slot + 1) & (set->n_slots - 1);
    return slot;
}

static bool grow(struct entro_set *set)
{
    struct entro_set larger = *set;
    larger.n_slots = set->n_slots < 32 ? 64 : 2 * set->n_slots;
    larger.slots = calloc(larger.n_slots, sizeof *larger.slots);
    if (larger.slots == NULL)
        return false;
    for (size_t i = 0; i < set->records.n; i++)
        larger.slots[find_slot(&larger, entro_record(&set->records, i))] = (uint32_t)i + 1;
    free(set->slots);
    set->slots = larger.slots;
    set->n_slots = larger.n_slots;
    return true;
}

bool entro_set_add(struct entro_set *set, const void *record, uint32_t *number, bool *is_new)
{
    if (set->records.n + 1 > set->n_slots / 2 && !grow(set))
        return false;
    size_t slot = find_slot(set, record);
    *is_new = set->slots[slot] == 0;
    if (*is_new) {
        if (set->records.n >= ENTRO_NONE - 1 || !entro_records_append(&set->records, record, 1))
            return false;
        set->slots[slot] = (uint32_t)set->records.n;
    }
    *number = set->slots[slot] - 1;
    return true;
}
