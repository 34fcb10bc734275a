/* The page of a plan: what sizes cost and lose, as a chart and by tensor, and the ablation. */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "codec/names.h"
#include "mkentrofs/encode.h"
#include "mkentrofs/page.h"
#include "mkentrofs/page_internal.h"
#include "mkentrofs/plan_sums.h"

/* The chart, in units of its view. */
#define WIDTH  640.0
#define HEIGHT 320.0
#define LEFT   40.0
#define BOTTOM 290.0
#define TOP    14.0
#define RIGHT  630.0

#define MAX_BITS 9.0
#define MAX_SNR  54.0

static const char *const granularities[ENTRO_N_GRANULARITIES] = {"tensor", "row", "group of 128"};
static const unsigned code_bits[ENTRO_N_ABLATION_BITS] = {8, 4};

struct plan_page {
    FILE *out;
    const struct entro_plan *plan;
    struct entro_plan_sum total;
    struct entro_ablation ablation;
    double weights; /* of the ablation */
};

static double x_of(double bits)
{
    return LEFT + (RIGHT - LEFT) * fmin(fmax(bits, 0), MAX_BITS) / MAX_BITS;
}

static double y_of(double snr_db)
{
    return BOTTOM - (BOTTOM - TOP) * fmin(fmax(snr_db, 0), MAX_SNR) / MAX_SNR;
}

static void axes(FILE *out)
{
    for (int bits = 1; bits < (int)MAX_BITS; bits++)
        fprintf(out,
                "<line x1=\"%.1f\" y1=\"%g\" x2=\"%.1f\" y2=\"%g\"/><text class=\"middle\" x=\"%.1f\" "
                "y=\"%g\">%d</text>",
                x_of(bits), TOP, x_of(bits), BOTTOM, x_of(bits), BOTTOM + 16, bits);
    for (int snr = 0; snr < (int)MAX_SNR; snr += 10)
        fprintf(out,
                "<line x1=\"%g\" y1=\"%.1f\" x2=\"%g\" y2=\"%.1f\"/><text class=\"end\" x=\"%g\" "
                "y=\"%.1f\">%d</text>",
                LEFT, y_of(snr), RIGHT, y_of(snr), LEFT - 6, y_of(snr) + 4, snr);
    fprintf(
        out,
        "<text class=\"end\" x=\"%g\" y=\"%g\">bits a weight</text><text x=\"%g\" y=\"%g\">SNR, dB</text>\n",
        RIGHT, HEIGHT - 2, LEFT + 4, TOP + 8);
}

static double cell_bits(const struct plan_page *page, unsigned granularity, unsigned which)
{
    const struct entro_ablation_cell *cell = &page->ablation.cells[granularity][which];
    return (cell->entropy_bits + cell->step_bits) / page->weights;
}

static double cell_snr(const struct plan_page *page, unsigned granularity, unsigned which)
{
    return entro_snr_db(page->ablation.cells[granularity][which].error_energy, page->ablation.energy);
}

static void chart(const struct plan_page *page)
{
    FILE *out = page->out;
    fprintf(out, "<svg class=\"chart\" viewBox=\"0 0 %g %g\">\n", WIDTH, HEIGHT);
    axes(out);
    for (unsigned which = 0; which < ENTRO_N_ABLATION_BITS && page->weights > 0; which++)
        for (unsigned i = 0; i < ENTRO_N_GRANULARITIES; i++)
            fprintf(out,
                    "<circle class=\"c%u\" cx=\"%.1f\" cy=\"%.1f\" r=\"5\"><title>a step a %s, %u "
                    "bits</title></circle>\n",
                    i + 1, x_of(cell_bits(page, i, which)), y_of(cell_snr(page, i, which)), granularities[i],
                    code_bits[which]);
    fputs("<polyline points=\"", out);
    for (size_t i = 0; i < page->plan->n_planned; i++)
        fprintf(out, "%.1f,%.1f ", x_of(page->total.bits[i] / page->total.weights),
                y_of(entro_snr_db(page->total.noise[i], page->total.energy)));
    fputs("\"/>\n", out);
    for (size_t i = 0; i < page->plan->n_planned; i++)
        fprintf(out,
                "<circle class=\"c0\" cx=\"%.1f\" cy=\"%.1f\" r=\"5\"><title>--bpw %.4g</title></circle>\n",
                x_of(page->total.bits[i] / page->total.weights),
                y_of(entro_snr_db(page->total.noise[i], page->total.energy)), page->plan->bpw[i]);
    fputs("</svg>\n<ul class=\"legend\"><li><i class=\"c0\"></i>balanced, everything included</li>", out);
    for (unsigned i = 0; i < ENTRO_N_GRANULARITIES; i++)
        fprintf(out, "<li><i class=\"c%u\"></i>mixed, a step a %s: entropy and steps</li>", i + 1,
                granularities[i]);
    fputs("</ul>\n", out);
}

static void ablation_table(const struct plan_page *page)
{
    FILE *out = page->out;
    fputs("<section id=\"ablation\">\n<h2>One step for how many weights?</h2>\n<p>The mixed scheme's rule "
          "(EntroLLM's): "
          "finer steps lose less, and leave codes that entropy coding saves less on. Entropy is order-0, one "
          "table a "
          "tensor; a step costs 16 bits for a scale and 8 for a zero point.</p>\n<div "
          "class=\"scroll\"><table>\n<thead><tr>"
          "<th>a step for each</th><th>bits of a "
          "code</th><th>entropy</th><th>steps</th><th>SNR</th></tr></thead>\n<tbody>\n",
          out);
    for (unsigned which = 0; which < ENTRO_N_ABLATION_BITS; which++)
        for (unsigned i = 0; i < ENTRO_N_GRANULARITIES; i++) {
            const struct entro_ablation_cell *cell = &page->ablation.cells[i][which];
            double entropy = cell->entropy_bits / page->weights, steps = cell->step_bits / page->weights;
            fprintf(out,
                    "<tr><th scope=\"row\"><i class=\"swatch c%u\"></i>%s</th><td>%u</td><td><data "
                    "value=\"%.9g\">%.3f"
                    "</data></td><td><data value=\"%.9g\">%.3f</data></td><td>",
                    i + 1, granularities[i], code_bits[which], entropy, entropy, steps, steps);
            entro_page_snr(out, cell_snr(page, i, which));
            fputs("</td></tr>\n", out);
        }
    fputs("</tbody></table></div>\n</section>\n", out);
}

static void sum_row(const struct plan_page *page, const char *name, const char *dtype,
                    const struct entro_plan_sum *sum)
{
    FILE *out = page->out;
    fputs("<tr><th scope=\"row\"><span class=\"name\">", out);
    entro_page_text(out, name);
    fprintf(out, "</span></th><td>%s</td><td>", dtype);
    entro_page_number(out, (uint64_t)sum->weights);
    fputs("</td>", out);
    for (size_t i = 0; i < page->plan->n_planned; i++) {
        double bits = sum->bits[i] / sum->weights;
        fprintf(out, "<td><data value=\"%.9g\">%.2f</data></td><td>", bits, bits);
        entro_page_snr(out, entro_snr_db(sum->noise[i], sum->energy));
        fputs("</td>", out);
    }
    fputs("</tr>\n", out);
}

static void tensor_table(const struct plan_page *page)
{
    FILE *out = page->out;
    const struct entro_plan *plan = page->plan;
    fputs("<section id=\"tensors\">\n<h2>Every tensor</h2>\n<div class=\"scroll "
          "tall\"><table>\n<thead><tr><th>tensor</th>"
          "<th>dtype</th><th>weights</th>",
          out);
    for (size_t i = 0; i < plan->n_planned; i++)
        fprintf(out, "<th>at %.4g</th><th>SNR</th>", plan->bpw[i]);
    fputs("</tr></thead>\n<tbody>\n", out);
    if (page->total.n_tensors > 0)
        sum_row(page, "all", "", &page->total);
    for (size_t i = 0; i < plan->n_tensors; i++) {
        const struct entro_planned_tensor *tensor = &plan->tensors[i];
        struct entro_plan_sum one = {0};
        if (!tensor->kept_reason) {
            entro_plan_sum_add(&one, plan, tensor);
            sum_row(page, tensor->source->name, entro_dtype_name(tensor->source->dtype), &one);
            continue;
        }
        fputs("<tr><th scope=\"row\"><span class=\"name\">", out);
        entro_page_text(out, tensor->source->name);
        fprintf(out, "</span></th><td>%s</td><td>", entro_dtype_name(tensor->source->dtype));
        entro_page_number(out, tensor->source->n_elements);
        fprintf(out, "</td><td colspan=\"%zu\"><span class=\"kept\">kept: %s</span></td></tr>\n",
                2 * plan->n_planned, tensor->kept_reason);
    }
    fputs("</tbody></table></div>\n</section>\n", out);
}

static void print_plan(struct plan_page *page, const char *source_path)
{
    FILE *out = page->out;
    for (size_t i = 0; i < page->plan->n_tensors; i++)
        if (!page->plan->tensors[i].kept_reason)
            entro_plan_sum_add(&page->total, page->plan, &page->plan->tensors[i]);
    page->weights = entro_plan_sum_ablations(page->plan, &page->ablation);
    entro_page_begin(out, source_path);
    fputs("<header>\n<p class=\"program\">entrofs: a plan</p>\n<h1>", out);
    entro_page_text(out, source_path);
    fputs("</h1>\n</header>\n", out);
    if (page->total.n_tensors > 0) {
        fputs("<section id=\"chart\">\n<h2>What sizes cost and lose</h2>\n", out);
        chart(page);
        fputs("</section>\n", out);
    }
    if (page->weights > 0)
        ablation_table(page);
    tensor_table(page);
    entro_page_end(out);
}

enum entro_error entro_plan_page_write(const char *path, bool replace, const char *source_path,
                                       const struct entro_plan *plan, struct entro_message *message)
{
    char *text = NULL;
    size_t size = 0;
    struct plan_page page = {.plan = plan, .out = open_memstream(&text, &size)};
    bool ok = page.out != NULL;
    enum entro_error error;
    if (ok) {
        print_plan(&page, source_path);
        ok = !ferror(page.out);
        ok &= fclose(page.out) == 0;
    }
    if (ok)
        error = entro_page_store(path, replace, text, size, message);
    else
        error = entro_fail(message, ENTRO_ERROR_NO_MEMORY, "out of memory for the page");
    free(text);
    return error;
}
