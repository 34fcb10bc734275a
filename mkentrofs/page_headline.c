/* The page's top: what the build came to, in a few figures, and what the image is made of. */
#include <inttypes.h>
#include <math.h>

#include "mkentrofs/page_internal.h"

static double per(double amount, double n)
{
    return n > 0 ? amount / n : 0;
}

static void tile(FILE *out, const char *id, const char *label, double value, const char *format,
                 const char *unit)
{
    fprintf(out, "<div class=\"tile\" id=\"%s\"><b><data value=\"%.9g\">", id, value);
    char text[32];
    snprintf(text, sizeof text, "%.*f", *format - '0', value);
    fprintf(out, "%s</data>%s</b><span>%s</span></div>\n", text, unit, label);
}

/* "134.5 M" and the like. */
static void count(FILE *out, uint64_t n)
{
    char text[32];
    if (n < 1000000)
        fprintf(out, "<data value=\"%" PRIu64 "\">%s</data>", n, entro_grouped(text, n));
    else
        fprintf(out, "<data value=\"%" PRIu64 "\">%.4g %s</data>", n,
                (double)n / (n < 1000000000 ? 1e6 : 1e9), n < 1000000000 ? "M" : "G");
}

/* Two bars, the image's as long as its share of the source. */
static void bars(const struct entro_page *page)
{
    double source = (double)page->report->tree->size_bytes, image = (double)page->report->result->image_bytes;
    double longest = fmax(fmax(source, image), 1);
    FILE *out = page->out;
    fputs("<div class=\"bars\">\n<div class=\"bar-label\">source<b>", out);
    entro_page_bytes(out, page->report->tree->size_bytes);
    fprintf(out, "</b></div><div class=\"bar\"><i class=\"was\" style=\"width:%.2f%%\"></i></div>\n",
            100 * source / longest);
    fputs("<div class=\"bar-label\">image<b>", out);
    entro_page_bytes(out, page->report->result->image_bytes);
    fprintf(out, "</b></div><div class=\"bar\"><i class=\"is\" style=\"width:%.2f%%\"></i></div>\n</div>\n",
            100 * image / longest);
}

struct share {
    const char *class, *label;
    uint64_t n_bytes;
};

/* One bar of what the image is made of. */
static void composition(const struct entro_page *page)
{
    const struct entro_report_totals *totals = &page->totals;
    uint64_t side = totals->side_bytes < totals->stored_bytes ? totals->side_bytes : totals->stored_bytes;
    const struct share shares[] = {
        {"h6", "codes", totals->stored_bytes - side},
        {"h3", "factors and outliers", side},
        {"h1", "kept tensors", totals->lossless_stored_bytes},
        {"c8", "other files and index", page->other_bytes},
    };
    double image = fmax((double)page->report->result->image_bytes, 1);
    FILE *out = page->out;
    fputs("<div class=\"stack\">", out);
    for (size_t i = 0; i < sizeof shares / sizeof *shares; i++)
        if (shares[i].n_bytes > 0)
            fprintf(out, "<i class=\"%s\" style=\"width:%.3f%%\"></i>", shares[i].class,
                    100 * (double)shares[i].n_bytes / image);
    fputs("</div>\n<ul class=\"legend\">", out);
    for (size_t i = 0; i < sizeof shares / sizeof *shares; i++)
        if (shares[i].n_bytes > 0) {
            fprintf(out, "<li><i class=\"%s\"></i>%s <b>", shares[i].class, shares[i].label);
            entro_page_bytes(out, shares[i].n_bytes);
            fputs("</b></li>", out);
        }
    fputs("</ul>\n", out);
}

void entro_page_headline(const struct entro_page *page)
{
    const struct entro_report_totals *totals = &page->totals;
    FILE *out = page->out;
    double source = (double)page->report->tree->size_bytes, image = (double)page->report->result->image_bytes;
    double snr_db = entro_snr_db(totals->error_energy, totals->energy);
    fputs("<header>\n<p class=\"program\">entrofs</p>\n<h1>", out);
    entro_page_text(out, page->report->image_path);
    fputs("</h1>\n<p class=\"from\">from <span>", out);
    entro_page_text(out, page->report->source_path);
    fprintf(out, "</span></p>\n");
    bars(page);
    fputs("</header>\n<div class=\"tiles\">\n", out);
    tile(out, "ratio", "of the source's size", per(100 * image, source), "1", " %");
    if (totals->n_quantized) {
        tile(out, "bits-per-weight", "bits a weight, everything included",
             per(8 * (double)totals->stored_bytes, (double)totals->weights), "3", "");
        tile(out, "entropy", "bits of entropy a weight", per(totals->entropy_bits, (double)totals->weights),
             "3", "");
        if (isfinite(snr_db))
            tile(out, "snr", "SNR of the weights", snr_db, "1", " dB");
    }
    fputs("<div class=\"tile\"><b>", out);
    count(out, totals->parameters);
    fputs("</b><span>parameters</span></div>\n<div class=\"tile\"><b>", out);
    entro_page_number(out, totals->n_quantized);
    fprintf(out, "</b><span>tensors quantized, %" PRIu64 " kept</span></div>\n", totals->n_lossless);
    if (totals->n_outliers) {
        fputs("<div class=\"tile\"><b>", out);
        entro_page_number(out, totals->n_outliers);
        fputs("</b><span>weights stored exactly: outliers</span></div>\n", out);
    }
    fputs("</div>\n", out);
    composition(page);
}
