/* What all treatments of tensors share; see encode.h. */
#include "mkentrofs/encode.h"

#include <math.h>
#include <string.h>

struct entro_tensor entro_encoded_tensor(const struct entro_source_tensor *tensor)
{
    struct entro_tensor record = {
        .name = tensor->name,
        .dtype = tensor->dtype,
        .scheme = ENTRO_SCHEME_LOSSLESS,
        .bits = 0,
        .rank = tensor->rank,
        .n_elements = tensor->n_elements,
        .n_rows = tensor->rank ? tensor->shape[0] : 1,
        .stream = ENTRO_NONE,
        .row_scale = ENTRO_NONE,
        .column_scale = ENTRO_NONE,
        .outliers = ENTRO_NONE,
        .scale = 0,
        .zero_point = 0,
        .snr_db = INFINITY,
    };
    record.n_columns = record.n_elements ? record.n_elements / record.n_rows : 0;
    memcpy(record.shape, tensor->shape, sizeof record.shape);
    return record;
}

double entro_snr_db(double error_energy, double energy)
{
    return error_energy > 0 ? 10 * log10(energy / error_energy) : INFINITY;
}
