/* tensors.json from arbitrary bytes. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "runner/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct entro_manifest manifest;
    struct entro_message message;
    if (entro_manifest_parse(&manifest, (const char *)data, size, "tensors.json", &message) != ENTRO_OK)
        return 0;
    for (size_t i = 0; i < manifest.n_tensors; i++)
        if (entro_manifest_find(&manifest, manifest.tensors[i].name) != &manifest.tensors[i] ||
            manifest.tensors[i].file[0] == '/')
            abort();
    entro_manifest_free(&manifest);
    return 0;
}
