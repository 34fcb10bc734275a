/*
 * From a tensor of the source to its streams in the image: one function a treatment (tensor_plan.h), one file
 * a function.
 */
#ifndef ENTRO_ENCODE_H
#define ENTRO_ENCODE_H

#include "codec/image.h"
#include "codec/pool.h"
#include "codec/writer.h"
#include "mkentrofs/balance_tensor.h"
#include "mkentrofs/input.h"
#include "mkentrofs/source.h"
#include "mkentrofs/tensor_plan.h"

struct entro_encoder {
    struct entro_writer *writer;
    struct entro_pool *pool;
    const struct entro_plan_options *options;
    const struct entro_monitor *monitor;
    uint64_t *counts; /* [ENTRO_N_SYMBOLS] or NULL: bytes of codes of quantized tensors are counted here */
};

struct entro_encoded {
    struct entro_tensor
        tensor; /* all fields set, for entro_writer_add_tensor; its name is the source tensor's */
    struct entro_stream_summary summary;
    const char *kept_reason; /* why it is lossless; NULL where it is quantized */
    int32_t lowest,
        highest;    /* q - zero_point of the smallest and of the largest weight, where it is quantized */
    double largest; /* magnitude of a weight; of the balanced scheme, as the next three */
    uint64_t n_outliers;
    uint64_t side_bytes;         /* of factors and outliers: part of summary.stored_bytes */
    unsigned n_iterations;       /* that balanced rows and columns */
    bool has_feedback;           /* columns make up for the errors of those before them */
    double error_energy, energy; /* sums of squared errors and squared weights, where it is quantized */
};

/*
 * Add the tensor's streams to the writer, but not the tensor: that is the caller's. Deterministic whatever
 * the number of threads. Errors of the source, the writer and of memory.
 */
enum entro_error entro_encode_lossless(const struct entro_encoder *encoder, const struct entro_input *input,
                                       const struct entro_source_tensor *tensor, struct entro_encoded *out,
                                       struct entro_message *message);

/* Where the weights allow no grid (NaN, infinities) nothing is added and *out says why in kept_reason: encode
 * it lossless then. */
enum entro_error entro_encode_mixed(const struct entro_encoder *encoder, const struct entro_input *input,
                                    const struct entro_source_tensor *tensor, struct entro_encoded *out,
                                    struct entro_message *message);

/* With the factors, bits and scale that were found before (balance_tensor.h). */
enum entro_error entro_encode_balanced(const struct entro_encoder *encoder, const struct entro_input *input,
                                       const struct entro_source_tensor *source,
                                       const struct entro_balanced_tensor *tensor, struct entro_encoded *out,
                                       struct entro_message *message);

/* The ratio of the energies in dB; infinite where nothing was lost. */
double entro_snr_db(double error_energy, double energy);

/* The fields of a tensor's record that every treatment sets alike: name, dtype, shape and no factors;
 * lossless until told otherwise. */
struct entro_tensor entro_encoded_tensor(const struct entro_source_tensor *tensor);

#endif
