/* The page's frame; its sections are page_*.c's. */
#include "mkentrofs/page.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "codec/output_file.h"
#include "codec/utf8.h"
#include "mkentrofs/page_internal.h"

void entro_page_text(FILE *out, const char *text)
{
    bool is_utf8 = entro_is_utf8(text, strlen(text));
    for (const char *c = text; *c; c++)
        switch (*c) {
        case '&':
            fputs("&amp;", out);
            break;
        case '<':
            fputs("&lt;", out);
            break;
        case '>':
            fputs("&gt;", out);
            break;
        case '"':
            fputs("&quot;", out);
            break;
        case '\'':
            fputs("&#39;", out);
            break;
        default:
            if ((unsigned char)*c < 32 || *c == 127 || ((unsigned char)*c > 127 && !is_utf8))
                fputs("&#xfffd;", out);
            else
                fputc(*c, out);
        }
}

void entro_page_bytes(FILE *out, uint64_t n_bytes)
{
    char text[32];
    entro_format_bytes(text, sizeof text, (double)n_bytes);
    fprintf(out, "<data value=\"%" PRIu64 "\">%s</data>", n_bytes, text);
}

void entro_page_number(FILE *out, uint64_t number)
{
    char text[32];
    fprintf(out, "<data value=\"%" PRIu64 "\">%s</data>", number, entro_grouped(text, number));
}

void entro_page_snr(FILE *out, double snr_db)
{
    if (isfinite(snr_db))
        fprintf(out, "<data value=\"%.6f\">%.1f dB</data>", snr_db, snr_db);
    else
        fputs("exact", out);
}

uint64_t entro_page_tensor_bytes(const struct entro_page *page, size_t i)
{
    const struct entro_stream_summary *summary = &page->report->result->tensors[i].encoded.summary;
    return summary->shared ? 0 : summary->stored_bytes;
}

static int by_image_bytes(const void *a, const void *b)
{
    const struct entro_page_kind *x = a, *y = b;
    if (x->image_bytes != y->image_bytes)
        return x->image_bytes > y->image_bytes ? -1 : 1;
    return x->number < y->number ? -1 : 1;
}

static bool find_kinds(struct entro_page *page)
{
    const struct entro_kinds *kinds = &page->codes->kinds;
    const struct entro_build_result *result = page->report->result;
    page->n_kinds = kinds->n;
    page->kinds = calloc(kinds->n + 1, sizeof *page->kinds);
    page->rank = calloc(kinds->n + 1, sizeof *page->rank);
    if (!page->kinds || !page->rank)
        return false;
    for (size_t i = 0; i < kinds->n; i++)
        page->kinds[i] = (struct entro_page_kind){.name = kinds->names[i], .number = (uint32_t)i};
    uint64_t tensor_bytes = 0;
    for (size_t i = 0; i < result->n_tensors; i++) {
        const struct entro_tensor_result *tensor = &result->tensors[i];
        struct entro_page_kind *kind = &page->kinds[kinds->of[i].kind];
        bool is_quantized = tensor->encoded.tensor.scheme != ENTRO_SCHEME_LOSSLESS;
        kind->n_tensors++;
        kind->n_quantized += is_quantized;
        kind->n_elements += tensor->source->n_elements;
        kind->source_bytes += tensor->source->size_bytes;
        kind->image_bytes += entro_page_tensor_bytes(page, i);
        kind->energy += is_quantized ? tensor->encoded.energy : 0;
        kind->error_energy += is_quantized ? tensor->encoded.error_energy : 0;
        tensor_bytes += entro_page_tensor_bytes(page, i);
    }
    qsort(page->kinds, kinds->n, sizeof *page->kinds, by_image_bytes);
    for (size_t i = 0; i < kinds->n; i++) {
        page->kinds[i].colour = i < ENTRO_PAGE_COLOURS ? (unsigned)i : ENTRO_PAGE_COLOURS;
        page->rank[page->kinds[i].number] = (uint32_t)i;
    }
    uint64_t image_bytes = result->image_bytes;
    page->other_bytes = image_bytes > tensor_bytes ? image_bytes - tensor_bytes : 0;
    return true;
}

void entro_page_begin(FILE *out, const char *title)
{
    fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
          "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
          "'unsafe-inline'\">\n"
          "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
          "<meta name=\"color-scheme\" content=\"light dark\">\n<title>",
          out);
    entro_page_text(out, title);
    fprintf(out, "</title>\n<style>\n%s</style>\n</head>\n<body>\n<main>\n", entro_page_style);
}

void entro_page_end(FILE *out)
{
    fputs("</main>\n<footer>Written by mkentrofs " ENTRO_VERSION
          ". Bits a weight are those in the image, everything included. SNR is that of the weights; it does "
          "not say where the noise falls.</footer>\n</body>\n</html>\n",
          out);
}

enum entro_error entro_page_store(const char *path, bool replace, const char *text, size_t size,
                                  struct entro_message *message)
{
    struct entro_output output;
    enum entro_error error = entro_output_create(&output, path, replace, message);
    if (!error)
        error = entro_output_append(&output, text, size, message);
    if (!error)
        error = entro_output_commit(&output, message);
    entro_output_free(&output);
    return error;
}

static bool print_page(struct entro_page *page)
{
    entro_page_begin(page->out, page->report->image_path);
    entro_page_headline(page);
    if (!entro_page_treemap(page))
        return false;
    entro_page_kinds(page);
    if (!entro_page_layers(page))
        return false;
    entro_page_histograms(page);
    entro_page_tensors(page);
    entro_page_end(page->out);
    return true;
}

enum entro_error entro_page_write(const char *path, bool replace, const struct entro_report *report,
                                  struct entro_message *message)
{
    struct entro_page page = {
        .report = report, .codes = report->options->codes, .totals = entro_report_totals(report->result)};
    char *text = NULL;
    size_t size = 0;
    enum entro_error error = ENTRO_ERROR_NO_MEMORY;
    page.out = open_memstream(&text, &size);
    bool ok = page.out && find_kinds(&page) && print_page(&page);
    if (page.out) {
        ok &= !ferror(page.out);
        ok &= fclose(page.out) == 0;
    }
    free(page.kinds);
    free(page.rank);
    if (!ok) {
        entro_fail(message, error, "out of memory for the page");
        goto free_text;
    }
    error = entro_page_store(path, replace, text, size, message);

free_text:
    free(text);
    return error;
}
