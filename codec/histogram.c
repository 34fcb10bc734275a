/* Counting bytes; see histogram.h. */
#include "codec/histogram.h"

void entro_histogram(const uint8_t *bytes, size_t n, uint64_t counts[ENTRO_N_SYMBOLS])
{
    /* Four tables, so that runs of one byte do not wait for each other. */
    uint32_t parts[4][ENTRO_N_SYMBOLS] = {{0}};
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        parts[0][bytes[i]]++;
        parts[1][bytes[i + 1]]++;
        parts[2][bytes[i + 2]]++;
        parts[3][bytes[i + 3]]++;
    }
    for (; i < n; i++)
        parts[0][bytes[i]]++;
    for (unsigned symbol = 0; symbol < ENTRO_N_SYMBOLS; symbol++)
        counts[symbol] += (uint64_t)parts[0][symbol] + parts[1][symbol] + parts[2][symbol] + parts[3][symbol];
}
