/* What the two halves of directions.h share: making sketches, and finding directions in them. */
#ifndef ENTRO_RUNNER_DIRECTIONS_INTERNAL_H
#define ENTRO_RUNNER_DIRECTIONS_INTERNAL_H

#include "runner/directions.h"

/* Random vectors of a sketch: twice as many as directions, of which the largest are kept. That is half of the
 * way from as many vectors as directions to the best directions there are. */
#define ENTRO_SKETCH_VECTORS   (2 * ENTRO_DIRECTIONS)
#define ENTRO_VECTORS_OF_PANEL ((size_t)ENTRO_TILE_ROWS)

struct entro_sketch_room {
    size_t n_columns;
    float *signs;    /* [panels][n_columns][32], 1 or -1: the same first columns for every sketch */
    float *scaled;   /* [tokens at once][n_columns] */
    float *products; /* [panels][tokens at once][32] of scaled inputs and signs */
};

static inline size_t entro_sketch_vectors(const struct entro_sketch *sketch)
{
    return sketch->n_directions * (ENTRO_SKETCH_VECTORS / ENTRO_DIRECTIONS);
}

/* Where the values of a column and a vector lie, in panels of so many columns. */
static inline size_t entro_panel_index(size_t n_columns, size_t column, size_t vector)
{
    return (vector / ENTRO_VECTORS_OF_PANEL * n_columns + column) * ENTRO_VECTORS_OF_PANEL +
           vector % ENTRO_VECTORS_OF_PANEL;
}

#endif
