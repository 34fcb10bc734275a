/* The text of the counters; see stats.h. */
#include "fs/stats.h"

#include <inttypes.h>
#include <stdio.h>

size_t entro_stats_text(struct entro_stats *stats, char text[ENTRO_STATS_TEXT_BYTES])
{
    size_t length = 0;
#define LINE(name)                                                                                           \
    length += (size_t)snprintf(text + length, ENTRO_STATS_TEXT_BYTES - length, #name " %" PRIu64 "\n",       \
                               atomic_load_explicit(&stats->name, memory_order_relaxed));
    ENTRO_STATS(LINE)
#undef LINE
    return length;
}
