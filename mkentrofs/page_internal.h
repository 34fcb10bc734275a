/* The parts of the page (page.h), and what they share. */
#ifndef ENTRO_PAGE_INTERNAL_H
#define ENTRO_PAGE_INTERNAL_H

#include <stdio.h>

#include "mkentrofs/report.h"
#include "mkentrofs/report_totals.h"

/* The kinds with the most bytes have colours of their own; class "c<number>" in the style. */
#define ENTRO_PAGE_COLOURS 8

struct entro_page_kind {
    const char *name;
    uint32_t number; /* in the code counts */
    unsigned colour; /* ENTRO_PAGE_COLOURS: that of all others */
    size_t n_tensors, n_quantized;
    uint64_t n_elements, source_bytes, image_bytes; /* streams that are shared count once */
    double energy, error_energy;                    /* of its quantized tensors */
};

struct entro_page {
    FILE *out;
    const struct entro_report *report;
    const struct entro_code_counts *codes;
    struct entro_report_totals totals;
    uint64_t other_bytes; /* of the image: files that hold no weights, headers, index */
    size_t n_kinds;
    struct entro_page_kind *kinds; /* those with the most bytes in the image first */
    uint32_t *rank;                /* where in `kinds` kind `number` is */
};

/* Text from a source, made harmless: markup, control characters, and bytes that are not UTF-8. */
void entro_page_text(FILE *out, const char *text);
/* A number for people within a <data> element that has it exactly. */
void entro_page_bytes(FILE *out, uint64_t n_bytes);
void entro_page_number(FILE *out, uint64_t number);
/* In dB; infinite: "exact". */
void entro_page_snr(FILE *out, double snr_db);

/* The frame around the sections of any page. */
void entro_page_begin(FILE *out, const char *title);
void entro_page_end(FILE *out);
/* Errors of codec/output_file.h. */
enum entro_error entro_page_store(const char *path, bool replace, const char *text, size_t size,
                                  struct entro_message *message);

/* What tensor `i` costs in the image: 0 where an equal one is there already. */
uint64_t entro_page_tensor_bytes(const struct entro_page *page, size_t i);

/* The sections. False where memory is short. */
extern const char entro_page_style[];
void entro_page_headline(const struct entro_page *page);
bool entro_page_treemap(const struct entro_page *page);
void entro_page_kinds(const struct entro_page *page);
bool entro_page_layers(const struct entro_page *page);
void entro_page_histograms(const struct entro_page *page);
void entro_page_tensors(const struct entro_page *page);

#endif
