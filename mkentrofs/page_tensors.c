/* Every tensor in a table: before, after, and a bar that the eye can sort by. */
#include <inttypes.h>
#include <math.h>

#include "codec/names.h"
#include "mkentrofs/page_internal.h"

static void shape(FILE *out, const struct entro_source_tensor *tensor)
{
    for (unsigned i = 0; i < tensor->rank; i++)
        fprintf(out, "%s%" PRIu64, i ? "\u2009\u00d7\u2009" : "", tensor->shape[i]);
}

static void row(const struct entro_page *page, size_t i)
{
    FILE *out = page->out;
    const struct entro_tensor_result *result = &page->report->result->tensors[i];
    const struct entro_encoded *encoded = &result->encoded;
    const struct entro_page_kind *kind = &page->kinds[page->rank[page->codes->kinds.of[i].kind]];
    double n = (double)result->source->n_elements;
    double bits = n > 0 ? 8 * (double)encoded->summary.stored_bytes / n : 0;
    double was = n > 0 ? 8 * (double)result->source->size_bytes / n : 0;
    fprintf(out, "<tr><th scope=\"row\"><i class=\"swatch c%u\"></i><span class=\"name\">", kind->colour);
    entro_page_text(out, result->source->name);
    fputs("</span></th><td>", out);
    shape(out, result->source);
    fprintf(out, "</td><td>%s \u2192 ", entro_dtype_name(result->source->dtype));
    if (encoded->tensor.scheme == ENTRO_SCHEME_LOSSLESS)
        fprintf(out, "<span class=\"kept\">kept: %s</span>",
                encoded->kept_reason ? encoded->kept_reason : "");
    else
        fprintf(out, "%s u%u", entro_scheme_name(encoded->tensor.scheme), encoded->tensor.bits);
    fputs("</td><td>", out);
    entro_page_bytes(out, result->source->size_bytes);
    fputs("</td><td>", out);
    entro_page_bytes(out, encoded->summary.stored_bytes);
    fprintf(out,
            "%s</td><td class=\"meter\"><i class=\"was\" style=\"width:%.2f%%\"></i><i class=\"c%u\" "
            "style=\"width:%.2f%%\"></i></td><td><data value=\"%.9g\">%.3f</data></td><td>",
            encoded->summary.shared ? " (shared)" : "", fmin(100 * was / 32, 100), kind->colour,
            fmin(100 * bits / 32, 100), bits, bits);
    if (encoded->tensor.scheme == ENTRO_SCHEME_LOSSLESS)
        fputs("\u2013</td><td>exact</td><td>", out);
    else {
        fprintf(out, "%.3f</td><td>", encoded->tensor.entropy_bits);
        entro_page_snr(out, encoded->tensor.snr_db);
        fputs("</td><td>", out);
    }
    entro_page_number(out, encoded->n_outliers);
    fputs("</td></tr>\n", out);
}

void entro_page_tensors(const struct entro_page *page)
{
    FILE *out = page->out;
    fputs("<section id=\"tensors\">\n<h2>Every tensor</h2>\n<div class=\"scroll tall\"><table>\n<thead><tr>"
          "<th>tensor</th><th>shape</th><th>dtype</th><th>source</th><th>image</th><th>of 32 bits</th>"
          "<th>bits a weight</th><th>entropy</th><th>SNR</th><th>outliers</th></tr></thead>\n<tbody>\n",
          out);
    for (size_t i = 0; i < page->report->result->n_tensors; i++)
        row(page, i);
    fputs("</tbody></table></div>\n</section>\n", out);
}
