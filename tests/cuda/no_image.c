/* In place of coded_source.c in a program without images (and so without xxHash, which reading one needs). */
#include <stdio.h>

#include "runner/coded_source.h"

enum entro_error entro_coded_stream_create(struct entro_coded_stream **out,
                                           const struct entro_coded_source *source, const char *tensor,
                                           struct entro_message *message)
{
    (void)source;
    *out = NULL;
    return entro_fail(message, ENTRO_ERROR_UNSUPPORTED, "tensor \"%s\": this program reads no images",
                      tensor);
}

void entro_coded_stream_free(struct entro_coded_stream *stream)
{
    (void)stream;
}

int entro_coded_fill(const void *stream, uint64_t offset, size_t n, void *to,
                     struct entro_cuda_message *message)
{
    (void)stream, (void)offset, (void)n, (void)to;
    snprintf(message->text, sizeof message->text, "this program reads no images");
    return 1;
}
