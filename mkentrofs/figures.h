/* Figures as people read them. */
#ifndef ENTRO_FIGURES_H
#define ENTRO_FIGURES_H

#include <stddef.h>
#include <stdint.h>

/* "1,234,567" into text, which is returned. */
const char *entro_grouped(char text[32], uint64_t number);

/* "1.50 GB" and the like into `text`, decimal units. */
void entro_format_bytes(char *text, size_t text_size, double n_bytes);

#endif
