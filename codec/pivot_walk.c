/* The counts of a coded block's leaves; see pivot_walk.h. */
#include "codec/pivot_walk.h"

/* The shortest form of at most three bytes, enough for a block's size; the bytes used, or 0. */
static inline size_t get_leb128(const uint8_t *bytes, size_t n_bytes, uint32_t *value)
{
    if (n_bytes > 0 && bytes[0] < 0x80) {
        *value = bytes[0];
        return 1;
    }
    if (n_bytes > 1 && bytes[1] < 0x80) {
        *value = (uint32_t)bytes[1] << 7 | (bytes[0] & 0x7fu);
        return bytes[1] != 0 ? 2 : 0;
    }
    if (n_bytes > 2 && bytes[2] < 0x80) {
        *value = (uint32_t)bytes[2] << 14 | (bytes[1] & 0x7fu) << 7 | (bytes[0] & 0x7fu);
        return bytes[2] != 0 ? 3 : 0;
    }
    return 0;
}

size_t entro_pivot_get_counts(const struct entro_pivot *pivot, struct entro_pivot_scratch *scratch,
                              const uint8_t *stored, size_t stored_bytes, size_t size)
{
    size_t offset = 0;
    uint32_t sum = 0, n_used = 0;
    for (unsigned leaf = 0; leaf < pivot->n_leaves; leaf++) {
        uint32_t count;
        size_t used = get_leb128(stored + offset, stored_bytes - offset, &count);
        if (used == 0 || count > size - sum)
            return 0;
        scratch->symbols_before[leaf] = sum;
        scratch->leaves_before[leaf] = n_used;
        scratch->lists[leaf] = sum + n_used * ENTRO_PIVOT_SLOP_BYTES;
        scratch->used_leaves[n_used] = (uint8_t)leaf; /* written over where the leaf is empty */
        n_used += count > 0;
        sum += count;
        offset += used;
    }
    scratch->symbols_before[pivot->n_leaves] = sum;
    scratch->leaves_before[pivot->n_leaves] = n_used;
    return sum == size ? offset : 0;
}
