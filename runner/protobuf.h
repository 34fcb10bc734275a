/* Reading the wire format of protocol buffers (protobuf.dev, "Encoding"): the fields of a message, one after
 * the other. What they mean is the caller's. */
#ifndef ENTRO_PROTOBUF_H
#define ENTRO_PROTOBUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum entro_protobuf_kind {
    ENTRO_PROTOBUF_VARINT = 0,
    ENTRO_PROTOBUF_64_BIT = 1,
    ENTRO_PROTOBUF_BYTES = 2,
    ENTRO_PROTOBUF_32_BIT = 5
};

struct entro_protobuf_field {
    uint32_t number;
    enum entro_protobuf_kind kind;
    uint64_t value;   /* of a varint, or the bits of a fixed one */
    const char *data; /* of ENTRO_PROTOBUF_BYTES: `size` bytes within the message */
    size_t size;
};

/* A walk over a message's fields; set the first two. */
struct entro_protobuf {
    const char *data;
    size_t size; /* what is left */
    bool damaged;
};

/* False at the end, or where the rest is no field (`damaged` is then set; groups, long out of use, count as
 * such). Nothing outside the message is read. */
bool entro_protobuf_next(struct entro_protobuf *message, struct entro_protobuf_field *field);

#endif
