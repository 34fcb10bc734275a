/*
 * The codes of each kind of tensor. Under a histogram is drawn as many codes as an even distribution of the
 * same entropy would have: what entropy coding makes of the grid.
 */
#include <math.h>

#include "mkentrofs/page_internal.h"

/* Kinds shown, those with the most bytes. */
#define MAX_HISTOGRAMS 48

/* Codes at the ends of a histogram that together hold less than this share are cut off. */
#define MAX_CUT 1e-3

#define WIDTH  240.0
#define HEIGHT 80.0

struct span {
    unsigned first, end;
};

/* The codes that hold nearly all weights. */
static struct span trim(const uint64_t *counts, unsigned n, uint64_t total)
{
    struct span span = {0, n};
    uint64_t cut = 0, allowed = (uint64_t)(MAX_CUT * (double)total);
    while (span.first + 1 < span.end && cut + counts[span.first] <= allowed)
        cut += counts[span.first++];
    while (span.end > span.first + 1 && cut + counts[span.end - 1] <= allowed)
        cut += counts[--span.end];
    return span;
}

static void print_shape(FILE *out, const uint64_t *counts, struct span span, uint64_t most)
{
    double step = WIDTH / (span.end - span.first);
    fprintf(out, "<path d=\"M0 %g", HEIGHT);
    for (unsigned i = span.first; i < span.end; i++)
        fprintf(out, "V%.1fH%.1f", HEIGHT * (1 - (double)counts[i] / (double)most),
                step * (i + 1 - span.first));
    fprintf(out, "V%gZ\"/>", HEIGHT);
}

static void histogram(const struct entro_page *page, const struct entro_page_kind *kind, unsigned bits,
                      const uint64_t *counts)
{
    FILE *out = page->out;
    unsigned n = 1U << bits;
    uint64_t all[ENTRO_N_SYMBOLS] = {0}, total = 0, most = 0;
    double mean = 0;
    for (unsigned i = 0; i < n; i++) {
        all[i] = counts[i];
        total += counts[i];
        most = counts[i] > most ? counts[i] : most;
        mean += (double)counts[i] * i;
    }
    if (total == 0)
        return;
    mean /= (double)total;
    double entropy = entro_entropy_bits(all);
    struct span span = trim(counts, n, total);
    double step = WIDTH / (span.end - span.first), width = exp2(entropy) * step;
    double left = (mean + 0.5 - span.first) * step - width / 2;
    left = fmax(fmin(left, WIDTH - width), 0);
    fputs("<figure class=\"codes\"><figcaption class=\"name\">", out);
    entro_page_text(out, kind->name);
    fprintf(out, "</figcaption>\n<svg class=\"c%u\" viewBox=\"0 -4 %g %g\">", kind->colour, WIDTH,
            HEIGHT + 16);
    print_shape(out, counts, span, most);
    fprintf(out,
            "<line x1=\"0\" y1=\"%g\" x2=\"%g\" y2=\"%g\"/><rect class=\"width\" x=\"%.1f\" y=\"%g\" "
            "width=\"%.1f\" "
            "height=\"4\" rx=\"2\"/>",
            HEIGHT, WIDTH, HEIGHT, left, HEIGHT + 5, fmin(width, WIDTH));
    fprintf(out,
            "</svg>\n<p><b><data class=\"entropy\" value=\"%.6f\">%.2f</data> bits</b> of entropy in "
            "%u-bit codes; %u to %u hold %s weights</p></figure>\n",
            entropy, entropy, bits, span.first, span.end - 1,
            span.end - span.first == n ? "all" : "nearly all");
}

void entro_page_histograms(const struct entro_page *page)
{
    if (page->totals.n_quantized == 0)
        return;
    FILE *out = page->out;
    fputs("<section id=\"codes\">\n<h2>What the codes look like</h2>\n<p>How often each code comes up, by "
          "kind. "
          "The bar below is as wide as an even distribution of the same entropy: so many codes' worth of "
          "bits is "
          "what a weight costs.</p>\n<div class=\"grid\">\n",
          out);
    size_t n_shown = 0;
    for (size_t i = 0; i < page->n_kinds && n_shown < MAX_HISTOGRAMS; i++) {
        const struct entro_page_kind *kind = &page->kinds[i];
        if (kind->n_quantized == 0)
            continue;
        const struct entro_kind_counts *counts = &page->codes->counts[kind->number];
        histogram(page, kind, 8, counts->u8);
        histogram(page, kind, 4, counts->u4);
        n_shown++;
    }
    fputs("</div>\n</section>\n", out);
}
