/* See figures.h. */
#include "mkentrofs/figures.h"

#include <stdio.h>

const char *entro_grouped(char text[32], uint64_t number)
{
    char digits[24];
    int n = snprintf(digits, sizeof digits, "%llu", (unsigned long long)number);
    char *to = text;
    for (int i = 0; i < n; i++) {
        if (i && (n - i) % 3 == 0)
            *to++ = ',';
        *to++ = digits[i];
    }
    *to = '\0';
    return text;
}

void entro_format_bytes(char *text, size_t text_size, double n_bytes)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB"};
    size_t unit = 0;
    while (n_bytes >= 999.5 && unit + 1 < sizeof units / sizeof *units) {
        n_bytes /= 1000;
        unit++;
    }
    int decimals = unit == 0 || n_bytes >= 99.95 ? 0 : n_bytes >= 9.995 ? 1 : 2;
    snprintf(text, text_size, "%.*f %s", decimals, n_bytes, units[unit]);
}
