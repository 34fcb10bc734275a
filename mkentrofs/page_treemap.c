/*
 * The image as a map: an area for each byte, tensors within their kinds. Squarified (Bruls, Huizing and van
 * Wijk, "Squarified treemaps", 2000).
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "mkentrofs/page_internal.h"

/* The map is that much wider than high. */
#define ASPECT 2.2

/* Areas smaller than this share of the map are nothing that could be seen; they are left out. */
#define MIN_SHARE 2e-5

struct rectangle {
    double left, top, width, height;
};

/* What fills a rectangle: called for each item with its place. */
typedef void place_function(void *context, size_t item, struct rectangle place);

/* The worst aspect of a row of areas along a side. */
static double worst_aspect(double least, double most, double sum, double side)
{
    double square = side * side / (sum * sum);
    return fmax(most * square, 1 / (least * square));
}

/* Areas are positive, descending, and sum up to that of `room`. */
static void squarify(const double *areas, size_t n, struct rectangle room, place_function *place,
                     void *context)
{
    for (size_t first = 0, end; first < n; first = end) {
        double side = fmin(room.width, room.height), sum = areas[first];
        for (end = first + 1; end < n; end++) {
            double with = worst_aspect(areas[end], areas[first], sum + areas[end], side);
            if (with > worst_aspect(areas[end - 1], areas[first], sum, side))
                break;
            sum += areas[end];
        }
        bool is_wide = room.width >= room.height;
        double thickness = side > 0 ? sum / side : 0, at = 0;
        for (size_t i = first; i < end; i++) {
            double length = sum > 0 ? side * areas[i] / sum : 0;
            place(context, i,
                  is_wide ? (struct rectangle){room.left, room.top + at, thickness, length}
                          : (struct rectangle){room.left + at, room.top, length, thickness});
            at += length;
        }
        if (is_wide) {
            room.left += thickness;
            room.width = fmax(room.width - thickness, 0);
        } else {
            room.top += thickness;
            room.height = fmax(room.height - thickness, 0);
        }
    }
}

struct tensor_of_kind {
    uint32_t rank;
    size_t tensor;
    uint64_t n_bytes;
};

struct map {
    const struct entro_page *page;
    const struct tensor_of_kind *tensors; /* by kind; the largest first */
    double *areas;                        /* room for those of a kind */
    size_t first;                         /* tensor of the kind that is being filled */
    struct rectangle within;              /* its rectangle */
};

static int by_kind_and_bytes(const void *a, const void *b)
{
    const struct tensor_of_kind *x = a, *y = b;
    if (x->rank != y->rank)
        return x->rank < y->rank ? -1 : 1;
    if (x->n_bytes != y->n_bytes)
        return x->n_bytes > y->n_bytes ? -1 : 1;
    return x->tensor < y->tensor ? -1 : x->tensor > y->tensor;
}

static void print_style(FILE *out, struct rectangle place, double width, double height)
{
    fprintf(out, "style=\"left:%.3f%%;top:%.3f%%;width:%.3f%%;height:%.3f%%\"", 100 * place.left / width,
            100 * place.top / height, 100 * place.width / width, 100 * place.height / height);
}

static void place_tensor(void *context, size_t item, struct rectangle place)
{
    const struct map *map = context;
    const struct tensor_of_kind *tensor = &map->tensors[map->first + item];
    const struct entro_page *page = map->page;
    char size[32];
    entro_format_bytes(size, sizeof size, (double)tensor->n_bytes);
    place.left -= map->within.left;
    place.top -= map->within.top;
    fputs("<i ", page->out);
    print_style(page->out, place, map->within.width, map->within.height);
    fputs(" title=\"", page->out);
    entro_page_text(page->out, page->report->result->tensors[tensor->tensor].source->name);
    fprintf(page->out, ", %s\"></i>", size);
}

static double area_of(const struct map *map, uint64_t n_bytes)
{
    return ASPECT * (double)n_bytes / (double)map->page->report->result->image_bytes;
}

/* What tells a kind from the others of a layer. */
static const char *label_of(const char *kind)
{
    const char *star = strrchr(kind, '*');
    return star && star[1] == '.' && star[2] != '\0' ? star + 2 : kind;
}

static void place_kind(void *context, size_t item, struct rectangle place)
{
    struct map *map = context;
    const struct entro_page_kind *kind = &map->page->kinds[item];
    FILE *out = map->page->out;
    fprintf(out, "<div class=\"c%u\" ", kind->colour);
    print_style(out, place, ASPECT, 1);
    fputs(">", out);
    map->within = place;
    size_t n = 0;
    double sum = 0;
    for (; n < kind->n_tensors; n++) {
        map->areas[n] = area_of(map, map->tensors[map->first + n].n_bytes);
        if (map->areas[n] < ASPECT * MIN_SHARE)
            break;
        sum += map->areas[n];
    }
    for (size_t i = 0; i < n; i++)
        map->areas[i] *= place.width * place.height / sum;
    squarify(map->areas, n, place, place_tensor, map);
    map->first += kind->n_tensors;
    fputs("<span>", out);
    entro_page_text(out, label_of(kind->name));
    fputs("</span></div>\n", out);
}

bool entro_page_treemap(const struct entro_page *page)
{
    size_t n_tensors = page->report->result->n_tensors;
    struct tensor_of_kind *tensors = calloc(n_tensors + 1, sizeof *tensors);
    double *kind_areas = calloc(page->n_kinds + 1, sizeof *kind_areas);
    struct map map = {.page = page, .tensors = tensors, .areas = calloc(n_tensors + 1, sizeof *map.areas)};
    bool ok = tensors && kind_areas && map.areas;
    if (!ok)
        goto free_all;
    for (size_t i = 0; i < n_tensors; i++)
        tensors[i] = (struct tensor_of_kind){.rank = page->rank[page->codes->kinds.of[i].kind],
                                             .tensor = i,
                                             .n_bytes = entro_page_tensor_bytes(page, i)};
    qsort(tensors, n_tensors, sizeof *tensors, by_kind_and_bytes);
    size_t n_kinds = 0;
    double sum = 0;
    for (; n_kinds < page->n_kinds; n_kinds++) {
        kind_areas[n_kinds] = area_of(&map, page->kinds[n_kinds].image_bytes);
        if (kind_areas[n_kinds] < ASPECT * 10 * MIN_SHARE)
            break;
        sum += kind_areas[n_kinds];
    }
    if (n_kinds == 0)
        goto free_all;
    for (size_t i = 0; i < n_kinds; i++)
        kind_areas[i] *= ASPECT / sum;
    fputs("<section id=\"map\">\n<h2>Where the bytes are</h2>\n<p>An area for each byte of the image, a "
          "colour for each kind of tensor, a field for each tensor.</p>\n<div class=\"map\">\n",
          page->out);
    squarify(kind_areas, n_kinds, (struct rectangle){0, 0, ASPECT, 1}, place_kind, &map);
    fputs("</div>\n</section>\n", page->out);

free_all:
    free(map.areas);
    free(kind_areas);
    free(tensors);
    return ok;
}
