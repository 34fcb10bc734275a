/* A model directory made for a test: a temporary folder with files in it. */
#ifndef ENTRO_TESTS_RUNNER_FIXTURE_H
#define ENTRO_TESTS_RUNNER_FIXTURE_H

#include <stddef.h>

/* Makes an empty directory with an empty folder "tensors"; the name is malloc'ed, and freed by
 * fixture_remove. */
char *fixture_create(void);

/* Writes a file below the directory. */
void fixture_write(const char *directory, const char *name, const void *bytes, size_t size_bytes);

/* Copies the file `source` into the directory as `name`. */
void fixture_copy(const char *directory, const char *name, const char *source);

/*
 * Writes tensors.json and one lossless raw file a tensor, as they are in the safetensors file `source`. A
 * file is left out of neither: whoever wants a damaged directory damages it afterwards.
 */
void fixture_write_tensors(const char *directory, const char *source);

/* Removes the directory with everything in it. */
void fixture_remove(char *directory);

#endif
