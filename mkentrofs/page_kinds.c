/* Kinds of tensors before and after: the map's legend, and its figures. */
#include <math.h>

#include "mkentrofs/page_internal.h"

/* Models with more kinds than this are no models that anybody looks at by kind. */
#define MAX_KINDS 200

static void kind_row(const struct entro_page *page, const struct entro_page_kind *kind, double most)
{
    FILE *out = page->out;
    fprintf(out, "<tr><th scope=\"row\"><i class=\"swatch c%u\"></i><span class=\"name\">", kind->colour);
    entro_page_text(out, kind->name);
    fputs("</span></th><td>", out);
    entro_page_number(out, kind->n_tensors);
    fputs("</td><td>", out);
    entro_page_number(out, kind->n_elements);
    fputs("</td><td>", out);
    entro_page_bytes(out, kind->source_bytes);
    fputs("</td><td>", out);
    entro_page_bytes(out, kind->image_bytes);
    fprintf(out,
            "</td><td class=\"meter\"><i class=\"was\" style=\"width:%.2f%%\"></i><i class=\"c%u\" "
            "style=\"width:%.2f%%\"></i></td><td>%.3f</td><td>",
            100 * (double)kind->source_bytes / most, kind->colour, 100 * (double)kind->image_bytes / most,
            kind->n_elements ? 8 * (double)kind->image_bytes / (double)kind->n_elements : 0);
    if (kind->n_quantized)
        entro_page_snr(out, entro_snr_db(kind->error_energy, kind->energy));
    else
        fputs("kept", out);
    fputs("</td></tr>\n", out);
}

void entro_page_kinds(const struct entro_page *page)
{
    FILE *out = page->out;
    double most = 1;
    size_t n = page->n_kinds < MAX_KINDS ? page->n_kinds : MAX_KINDS;
    for (size_t i = 0; i < n; i++)
        most = fmax(most, (double)(page->kinds[i].source_bytes > page->kinds[i].image_bytes
                                       ? page->kinds[i].source_bytes
                                       : page->kinds[i].image_bytes));
    fputs("<section id=\"kinds\">\n<h2>Before and after, by kind</h2>\n<div class=\"scroll\"><table>\n"
          "<thead><tr><th>kind</th><th>tensors</th><th>weights</th><th>source</th><th>image</th><th></th>"
          "<th>bits a weight</th><th>SNR</th></tr></thead>\n<tbody>\n",
          out);
    for (size_t i = 0; i < n; i++)
        kind_row(page, &page->kinds[i], most);
    fputs("</tbody></table></div>\n", out);
    if (n < page->n_kinds) {
        fputs("<p>and ", out);
        entro_page_number(out, page->n_kinds - n);
        fputs(" kinds with fewer bytes.</p>\n", out);
    }
    fputs("</section>\n", out);
}
