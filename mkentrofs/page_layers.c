/* Kinds by layers: bits a weight and SNR as fields of a colour scale. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "mkentrofs/page_internal.h"

/* What of a model of many more fits a page. */
#define MAX_ROWS   40
#define MAX_LAYERS 512

/* Steps of the colour scale: classes "h0" to "h8". */
#define N_SHADES 9

enum measure { MEASURE_BITS, MEASURE_SNR };

struct cell {
    uint64_t n_elements; /* of quantized tensors: 0 where there is none */
    uint64_t n_bytes;
    double energy, error_energy;
};

struct layers {
    const struct entro_page *page;
    size_t n_layers;
    uint32_t numbers[MAX_LAYERS]; /* of layers, ascending */
    size_t n_rows;
    uint32_t ranks[MAX_ROWS]; /* of the kinds shown */
    struct cell *cells;       /* [n_rows][n_layers] */
};

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* The numbers of layers that the model has, each once. */
static bool find_layers(struct layers *layers, size_t n_tensors)
{
    uint32_t *numbers = malloc((n_tensors + 1) * sizeof *numbers);
    size_t n = 0;
    if (!numbers)
        return false;
    for (size_t i = 0; i < n_tensors; i++)
        if (layers->page->codes->kinds.of[i].layer != ENTRO_NO_LAYER)
            numbers[n++] = layers->page->codes->kinds.of[i].layer;
    qsort(numbers, n, sizeof *numbers, by_number);
    for (size_t i = 0; i < n && layers->n_layers < MAX_LAYERS; i++)
        if (i == 0 || numbers[i] != numbers[i - 1])
            layers->numbers[layers->n_layers++] = numbers[i];
    free(numbers);
    return true;
}

/* The largest kinds that are quantized and in layers. */
static void find_rows(struct layers *layers, size_t n_tensors, bool *has_layer)
{
    const struct entro_page *page = layers->page;
    for (size_t i = 0; i < n_tensors; i++)
        if (page->codes->kinds.of[i].layer != ENTRO_NO_LAYER)
            has_layer[page->rank[page->codes->kinds.of[i].kind]] = true;
    for (uint32_t rank = 0; rank < page->n_kinds && layers->n_rows < MAX_ROWS; rank++)
        if (page->kinds[rank].n_quantized > 0 && has_layer[rank])
            layers->ranks[layers->n_rows++] = rank;
}

static void fill_cells(struct layers *layers)
{
    const struct entro_page *page = layers->page;
    const struct entro_build_result *result = page->report->result;
    for (size_t i = 0; i < result->n_tensors; i++) {
        const struct entro_encoded *encoded = &result->tensors[i].encoded;
        struct entro_kind_of of = page->codes->kinds.of[i];
        uint32_t *layer = bsearch(&of.layer, layers->numbers, layers->n_layers, sizeof *layer, by_number);
        uint32_t rank = page->rank[of.kind];
        uint32_t *row = bsearch(&rank, layers->ranks, layers->n_rows, sizeof *row, by_number);
        if (!layer || !row || encoded->tensor.scheme == ENTRO_SCHEME_LOSSLESS)
            continue;
        struct cell *cell = &layers->cells[(size_t)(row - layers->ranks) * layers->n_layers +
                                           (size_t)(layer - layers->numbers)];
        cell->n_elements += encoded->tensor.n_elements;
        cell->n_bytes += encoded->summary.stored_bytes;
        cell->energy += encoded->energy;
        cell->error_energy += encoded->error_energy;
    }
}

static double value_of(const struct cell *cell, enum measure measure)
{
    return measure == MEASURE_BITS ? 8 * (double)cell->n_bytes / (double)cell->n_elements
                                   : entro_snr_db(cell->error_energy, cell->energy);
}

static void print_row(const struct layers *layers, size_t row, enum measure measure, double least,
                      double most)
{
    FILE *out = layers->page->out;
    const char *name = layers->page->kinds[layers->ranks[row]].name;
    fputs("<div class=\"row\"><span class=\"name\">", out);
    entro_page_text(out, name);
    fprintf(out, "</span><svg viewBox=\"0 0 %zu 1\" preserveAspectRatio=\"none\">", layers->n_layers);
    for (size_t i = 0; i < layers->n_layers; i++) {
        const struct cell *cell = &layers->cells[row * layers->n_layers + i];
        if (cell->n_elements == 0)
            continue;
        double value = value_of(cell, measure);
        double share = !isfinite(value) ? 1 : most > least ? (value - least) / (most - least) : 0.5;
        unsigned shade = (unsigned)fmin(share * N_SHADES, N_SHADES - 1);
        fprintf(out, "<rect class=\"h%u\" x=\"%zu\" width=\"1\" height=\"1\"><title>layer %" PRIu32 ": ",
                shade, i, layers->numbers[i]);
        if (isfinite(value))
            fprintf(out, measure == MEASURE_BITS ? "%.3f bits a weight" : "%.2f dB", value);
        else
            fputs("exact", out);
        fputs("</title></rect>", out);
    }
    fputs("</svg></div>\n", out);
}

static void print_heat_map(const struct layers *layers, enum measure measure)
{
    FILE *out = layers->page->out;
    double least = INFINITY, most = -INFINITY;
    for (size_t i = 0; i < layers->n_rows * layers->n_layers; i++) {
        double value = layers->cells[i].n_elements ? value_of(&layers->cells[i], measure) : NAN;
        if (isfinite(value)) {
            least = fmin(least, value);
            most = fmax(most, value);
        }
    }
    fprintf(out, "<figure class=\"heat\"><figcaption><b>%s</b>",
            measure == MEASURE_BITS ? "bits a weight" : "SNR in dB");
    if (isfinite(least)) {
        fprintf(out, "<span class=\"scale\">%.2f", least);
        for (unsigned i = 0; i < N_SHADES; i++)
            fprintf(out, "<i class=\"h%u\"></i>", i);
        fprintf(out, "%.2f</span>", most);
    }
    fputs("</figcaption>\n", out);
    for (size_t row = 0; row < layers->n_rows; row++)
        print_row(layers, row, measure, least, most);
    fprintf(out,
            "<div class=\"row axis\"><span></span><div><span>layer %" PRIu32 "</span><span>%" PRIu32
            "</span></div></div>\n</figure>\n",
            layers->numbers[0], layers->numbers[layers->n_layers - 1]);
}

bool entro_page_layers(const struct entro_page *page)
{
    size_t n_tensors = page->report->result->n_tensors;
    struct layers layers = {.page = page};
    bool *has_layer = calloc(page->n_kinds + 1, sizeof *has_layer);
    bool ok = has_layer && find_layers(&layers, n_tensors);
    if (!ok)
        goto free_all;
    find_rows(&layers, n_tensors, has_layer);
    if (layers.n_rows == 0 || layers.n_layers < 2)
        goto free_all;
    layers.cells = calloc(layers.n_rows * layers.n_layers, sizeof *layers.cells);
    ok = layers.cells != NULL;
    if (!ok)
        goto free_all;
    fill_cells(&layers);
    fputs("<section id=\"layers\">\n<h2>Layer by layer</h2>\n", page->out);
    print_heat_map(&layers, MEASURE_BITS);
    print_heat_map(&layers, MEASURE_SNR);
    fputs("</section>\n", page->out);

free_all:
    free(layers.cells);
    free(has_layer);
    return ok;
}
