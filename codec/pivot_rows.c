/* The tables that several files of kernels share. */
#include "codec/pivot_rows.h"

#define SLOT(bits, i)                                                                                        \
    (ENTRO_BIT_AT(bits, i) ? 8 - ENTRO_ONES_BELOW(bits, 8) + ENTRO_ONES_BELOW(bits, i)                       \
                           : (i)-ENTRO_ONES_BELOW(bits, i))
#define IS_AT(bits, i, slot) (SLOT(bits, i) == (slot))
#define INPUT_AT(bits, slot)                                                                                 \
    (IS_AT(bits, 1, slot) + 2 * IS_AT(bits, 2, slot) + 3 * IS_AT(bits, 3, slot) + 4 * IS_AT(bits, 4, slot) + \
     5 * IS_AT(bits, 5, slot) + 6 * IS_AT(bits, 6, slot) + 7 * IS_AT(bits, 7, slot))
#define PARTITION_ROW(bits)                                                                                  \
    {                                                                                                        \
        {ENTRO_ROW(INPUT_AT, bits)},                                                                         \
        {                                                                                                    \
            ENTRO_ROW(INPUT_AT, 255 - (bits))                                                                \
        }                                                                                                    \
    }
const uint8_t entro_pivot_partition_rows[256][2][8] = {ENTRO_ALL_ROWS(PARTITION_ROW)};
