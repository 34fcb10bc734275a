/*
 * Tables with a row for each byte of a bitmap: what the portable kernels and those for 16 and 32 byte
 * registers share. Internal to the pivot coder.
 */
#ifndef ENTRO_PIVOT_ROWS_H
#define ENTRO_PIVOT_ROWS_H

#include <stdint.h>

/* row(0), row(1), ... row(255): the initializer of a table. */
#define ENTRO_ROWS_4(row, bits) row(bits), row((bits) + 1), row((bits) + 2), row((bits) + 3)
#define ENTRO_ROWS_16(row, bits)                                                                             \
    ENTRO_ROWS_4(row, bits), ENTRO_ROWS_4(row, (bits) + 4), ENTRO_ROWS_4(row, (bits) + 8),                   \
        ENTRO_ROWS_4(row, (bits) + 12)
#define ENTRO_ROWS_64(row, bits)                                                                             \
    ENTRO_ROWS_16(row, bits), ENTRO_ROWS_16(row, (bits) + 16), ENTRO_ROWS_16(row, (bits) + 32),              \
        ENTRO_ROWS_16(row, (bits) + 48)
#define ENTRO_ALL_ROWS(row)                                                                                  \
    ENTRO_ROWS_64(row, 0), ENTRO_ROWS_64(row, 64), ENTRO_ROWS_64(row, 128), ENTRO_ROWS_64(row, 192)

/* at(bits, 0), ... at(bits, 7): the entries of a row. */
#define ENTRO_ROW(at, bits)                                                                                  \
    at(bits, 0), at(bits, 1), at(bits, 2), at(bits, 3), at(bits, 4), at(bits, 5), at(bits, 6), at(bits, 7)

#define ENTRO_BIT_AT(bits, i)     ((bits) >> (i)&1)
#define ENTRO_ONES_BELOW(bits, i) __builtin_popcount((bits) & ((1 << (i)) - 1))

/* For a partition: the inputs that go left (whose bits are 0), in order, then those that go right; and those
 * that go right, then those that go left. */
extern const uint8_t entro_pivot_partition_rows[256][2][8];

#endif
