/*
 * As what dtype the model file of the mount shows a quantized tensor.
 */
#ifndef ENTRO_VIEWS_H
#define ENTRO_VIEWS_H

#include "codec/dtype.h"
#include "mkentrofs/encode.h"
#include "mkentrofs/source.h"

/*
 * safetensors and npy: the source's dtype, so that headers stay as they are. GGUF: a type that stock readers
 * load: Q4_1 or Q8_0 where they are exact, else F16 where it loses next to nothing, else F32. A lossless
 * tensor's is its own dtype. Thread-safe.
 */
enum entro_dtype entro_view_dtype(enum entro_part_kind kind, const struct entro_encoded *encoded);

/* GGUF's general.file_type for a file of these tensors: by the type that most weights have among the
 * quantized ones; -1: leave it. */
int entro_gguf_file_type(const struct entro_encoded *encoded, const enum entro_dtype *views,
                         size_t n_tensors);

#endif
