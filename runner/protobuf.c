/* See protobuf.h. */
#include "runner/protobuf.h"

#include "codec/bytes.h"

static bool take_varint(struct entro_protobuf *message, uint64_t *value)
{
    *value = 0;
    for (unsigned shift = 0; shift < 64 && message->size > 0; shift += 7) {
        unsigned char byte = (unsigned char)message->data[0];
        message->data++;
        message->size--;
        /* Ten bytes have room for 70 bits. */
        if (shift == 63 && (byte & 0x7E) != 0)
            return false;
        *value |= (uint64_t)(byte & 0x7F) << shift;
        if (!(byte & 0x80))
            return true;
    }
    return false;
}

static bool take_bytes(struct entro_protobuf *message, uint64_t size, struct entro_protobuf_field *field)
{
    if (size > message->size)
        return false;
    field->data = message->data;
    field->size = (size_t)size;
    message->data += size;
    message->size -= (size_t)size;
    return true;
}

static bool take_field(struct entro_protobuf *message, struct entro_protobuf_field *field)
{
    uint64_t tag;
    uint64_t size;
    if (!take_varint(message, &tag) || tag >> 3 == 0 || tag >> 3 > (1u << 29) - 1)
        return false;
    *field = (struct entro_protobuf_field){.number = (uint32_t)(tag >> 3)};
    switch (tag & 7) {
    case ENTRO_PROTOBUF_VARINT:
        field->kind = ENTRO_PROTOBUF_VARINT;
        return take_varint(message, &field->value);
    case ENTRO_PROTOBUF_64_BIT:
        field->kind = ENTRO_PROTOBUF_64_BIT;
        if (!take_bytes(message, 8, field))
            return false;
        field->value = entro_load_u64(field->data);
        return true;
    case ENTRO_PROTOBUF_BYTES:
        field->kind = ENTRO_PROTOBUF_BYTES;
        return take_varint(message, &size) && take_bytes(message, size, field);
    case ENTRO_PROTOBUF_32_BIT:
        field->kind = ENTRO_PROTOBUF_32_BIT;
        if (!take_bytes(message, 4, field))
            return false;
        field->value = entro_load_u32(field->data);
        return true;
    default:
        return false;
    }
}

bool entro_protobuf_next(struct entro_protobuf *message, struct entro_protobuf_field *field)
{
    if (message->size == 0 || message->damaged)
        return false;
    message->damaged = !take_field(message, field);
    return !message->damaged;
}
