/*
 * What the numbers of the format are called, in tensors.json, attributes and reports alike. Thread-safe.
 */
#ifndef ENTRO_NAMES_H
#define ENTRO_NAMES_H

#include "codec/dtype.h"
#include "codec/format.h"

/* "lossless", "unsigned", ...; "safetensors", "gguf", "npy"; "constant", "raw", "coded". Never NULL. */
const char *entro_scheme_name(enum entro_scheme scheme);
const char *entro_source_name(enum entro_source source);
const char *entro_method_name(enum entro_method method);

/* "BF16", "Q4_K", ...; never NULL. */
const char *entro_dtype_name(enum entro_dtype dtype);

#endif
