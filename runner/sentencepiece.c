/* Reading tokenizer.model; see sentencepiece.h. Source of the format: google/sentencepiece,
 * src/sentencepiece_model.proto. */
#include "runner/sentencepiece.h"

#include "codec/bytes.h"
#include "runner/protobuf.h"
#include "runner/sentencepiece_internal.h"

#include <stdlib.h>
#include <string.h>

/* ModelProto */
enum { FIELD_PIECES = 1, FIELD_TRAINER = 2, FIELD_NORMALIZER = 3, FIELD_DENORMALIZER = 5 };
/* SentencePiece */
enum { FIELD_PIECE = 1, FIELD_SCORE = 2, FIELD_TYPE = 3 };
/* TrainerSpec */
enum { FIELD_MODEL_TYPE = 3, FIELD_SUFFIX = 24, FIELD_BOS_ID = 41, FIELD_EOS_ID = 42 };
/* NormalizerSpec */
enum { FIELD_CHARSMAP = 2, FIELD_DUMMY_PREFIX = 3, FIELD_REMOVE_SPACES = 4, FIELD_ESCAPE_SPACES = 5 };

enum { MODEL_UNIGRAM = 1, MODEL_BPE = 2, MODEL_WORD = 3, MODEL_CHARACTER = 4 };
enum {
    TYPE_NORMAL = 1,
    TYPE_UNKNOWN = 2,
    TYPE_CONTROL = 3,
    TYPE_USER_DEFINED = 4,
    TYPE_UNUSED = 5,
    TYPE_BYTE = 6
};

/* The numbers are as the format's defaults until the file says otherwise. */
struct reading {
    struct entro_vocab_string *pieces;
    float *scores;
    int32_t *types;
    size_t n;
    size_t piece_capacity;
    size_t score_capacity;
    size_t type_capacity;
    size_t n_unknown;
    uint32_t unknown_id;
    uint64_t model_type;
    uint64_t bos_id;
    uint64_t eos_id;
    bool dummy_prefix;
    bool remove_spaces;
    bool escape_spaces;
    bool suffix;
    bool maps_characters;
    struct entro_message *message;
};

static enum entro_error damaged(const struct reading *reading, const char *what)
{
    return entro_fail(reading->message, ENTRO_ERROR_FORMAT, "tokenizer.model: %s", what);
}

static enum entro_error unsupported(const struct reading *reading, const char *what)
{
    return entro_fail(reading->message, ENTRO_ERROR_UNSUPPORTED, "tokenizer.model: %s is not supported",
                      what);
}

static enum entro_error add_piece(struct reading *reading, struct entro_vocab_string piece, float score,
                                  int32_t type)
{
    if (reading->n >= ENTRO_TOKENIZER_MAX_TOKENS)
        return damaged(reading, "there are too many pieces");
    void *pieces = reading->pieces;
    void *scores = reading->scores;
    void *types = reading->types;
    enum entro_error error = entro_grow(&pieces, &reading->piece_capacity, reading->n + 1,
                                        sizeof *reading->pieces, reading->message);
    if (error == ENTRO_OK)
        error = entro_grow(&scores, &reading->score_capacity, reading->n + 1, sizeof *reading->scores,
                           reading->message);
    if (error == ENTRO_OK)
        error = entro_grow(&types, &reading->type_capacity, reading->n + 1, sizeof *reading->types,
                           reading->message);
    reading->pieces = pieces;
    reading->scores = scores;
    reading->types = types;
    if (error != ENTRO_OK)
        return error;
    reading->pieces[reading->n] = piece;
    reading->scores[reading->n] = score;
    reading->types[reading->n] = type;
    reading->n++;
    return ENTRO_OK;
}

static enum entro_error read_piece(struct reading *reading, const struct entro_protobuf_field *whole)
{
    struct entro_protobuf message = {.data = whole->data, .size = whole->size};
    struct entro_protobuf_field field;
    struct entro_vocab_string piece = {.data = "", .size = 0};
    float score = 0;
    uint64_t type = TYPE_NORMAL;
    while (entro_protobuf_next(&message, &field)) {
        if (field.number == FIELD_PIECE && field.kind == ENTRO_PROTOBUF_BYTES) {
            piece = (struct entro_vocab_string){.data = field.data, .size = field.size};
        } else if (field.number == FIELD_SCORE && field.kind == ENTRO_PROTOBUF_32_BIT) {
            score = entro_load_f32(field.data);
        } else if (field.number == FIELD_TYPE && field.kind == ENTRO_PROTOBUF_VARINT) {
            type = field.value;
        }
    }
    if (message.damaged || type < TYPE_NORMAL || type > TYPE_BYTE)
        return damaged(reading, "a piece is damaged");
    if (piece.size == 0)
        return damaged(reading, "a piece is empty");
    if (type == TYPE_UNUSED)
        return unsupported(reading, "a piece of type UNUSED");
    if (type == TYPE_UNKNOWN) {
        reading->unknown_id = (uint32_t)reading->n;
        reading->n_unknown++;
    }
    return add_piece(reading, piece, score, (int32_t)type);
}

static enum entro_error read_trainer(struct reading *reading, const struct entro_protobuf_field *whole)
{
    struct entro_protobuf message = {.data = whole->data, .size = whole->size};
    struct entro_protobuf_field field;
    while (entro_protobuf_next(&message, &field)) {
        if (field.kind != ENTRO_PROTOBUF_VARINT)
            continue;
        if (field.number == FIELD_MODEL_TYPE)
            reading->model_type = field.value;
        else if (field.number == FIELD_BOS_ID)
            reading->bos_id = field.value;
        else if (field.number == FIELD_EOS_ID)
            reading->eos_id = field.value;
        else if (field.number == FIELD_SUFFIX)
            reading->suffix = field.value != 0;
    }
    return message.damaged ? damaged(reading, "the trainer's part is damaged") : ENTRO_OK;
}

static enum entro_error read_normalizer(struct reading *reading, const struct entro_protobuf_field *whole)
{
    struct entro_protobuf message = {.data = whole->data, .size = whole->size};
    struct entro_protobuf_field field;
    while (entro_protobuf_next(&message, &field)) {
        if (field.number == FIELD_CHARSMAP && field.kind == ENTRO_PROTOBUF_BYTES)
            reading->maps_characters = reading->maps_characters || field.size > 0;
        if (field.kind != ENTRO_PROTOBUF_VARINT)
            continue;
        if (field.number == FIELD_DUMMY_PREFIX)
            reading->dummy_prefix = field.value != 0;
        else if (field.number == FIELD_REMOVE_SPACES)
            reading->remove_spaces = field.value != 0;
        else if (field.number == FIELD_ESCAPE_SPACES)
            reading->escape_spaces = field.value != 0;
    }
    return message.damaged ? damaged(reading, "the normalizer's part is damaged") : ENTRO_OK;
}

/* A denormalizer only matters where it maps characters. */
static enum entro_error read_denormalizer(struct reading *reading, const struct entro_protobuf_field *whole)
{
    struct entro_protobuf message = {.data = whole->data, .size = whole->size};
    struct entro_protobuf_field field;
    while (entro_protobuf_next(&message, &field)) {
        if (field.number == FIELD_CHARSMAP && field.kind == ENTRO_PROTOBUF_BYTES && field.size > 0)
            reading->maps_characters = true;
    }
    return message.damaged ? damaged(reading, "the denormalizer's part is damaged") : ENTRO_OK;
}

static enum entro_error read_file(struct reading *reading, const char *bytes, size_t size)
{
    struct entro_protobuf message = {.data = bytes, .size = size};
    struct entro_protobuf_field field;
    enum entro_error error = ENTRO_OK;
    while (error == ENTRO_OK && entro_protobuf_next(&message, &field)) {
        if (field.kind != ENTRO_PROTOBUF_BYTES)
            continue;
        if (field.number == FIELD_PIECES)
            error = read_piece(reading, &field);
        else if (field.number == FIELD_TRAINER)
            error = read_trainer(reading, &field);
        else if (field.number == FIELD_NORMALIZER)
            error = read_normalizer(reading, &field);
        else if (field.number == FIELD_DENORMALIZER)
            error = read_denormalizer(reading, &field);
    }
    if (error == ENTRO_OK && (message.damaged || reading->n == 0))
        error = damaged(reading, "not a SentencePiece model");
    return error;
}

static enum entro_error check(const struct reading *reading)
{
    static const char *const kinds[] = {[MODEL_UNIGRAM] = "a model of type UNIGRAM",
                                        [MODEL_WORD] = "a model of type WORD",
                                        [MODEL_CHARACTER] = "a model of type CHAR"};
    if (reading->model_type != MODEL_BPE)
        return unsupported(reading,
                           reading->model_type >= MODEL_UNIGRAM && reading->model_type <= MODEL_CHARACTER
                               ? kinds[reading->model_type]
                               : "a model of an unknown type");
    if (reading->maps_characters)
        return unsupported(reading, "a normalizer that maps characters");
    if (reading->remove_spaces)
        return unsupported(reading, "a normalizer that removes spaces");
    if (!reading->escape_spaces)
        return unsupported(reading, "a normalizer that leaves spaces");
    if (reading->suffix)
        return unsupported(reading, "a space as a suffix");
    return reading->n_unknown == 1 ? ENTRO_OK : damaged(reading, "there is not exactly one unknown piece");
}

/* The id, if it is one of a control piece. */
static uint32_t control_id(const struct reading *reading, uint64_t id)
{
    return id < reading->n && reading->types[id] == TYPE_CONTROL ? (uint32_t)id : ENTRO_TOKEN_NONE;
}

enum entro_error entro_tokenizer_from_sentencepiece(struct entro_tokenizer **out, const char *bytes,
                                                    size_t size, const char *config, size_t config_size,
                                                    struct entro_message *message)
{
    struct reading reading = {.model_type = MODEL_UNIGRAM,
                              .bos_id = 1,
                              .eos_id = 2,
                              .dummy_prefix = true,
                              .remove_spaces = true,
                              .escape_spaces = true,
                              .message = message};
    struct entro_sentencepiece_config told = {0};
    struct entro_message inner = {.text = ""};
    *out = NULL;
    if (size > ENTRO_SENTENCEPIECE_LIMIT)
        return entro_fail(message, ENTRO_ERROR_FORMAT, "tokenizer.model has %zu bytes; at most %zu are read",
                          size, ENTRO_SENTENCEPIECE_LIMIT);
    enum entro_error error = read_file(&reading, bytes, size);
    if (error == ENTRO_OK)
        error = check(&reading);
    if (error == ENTRO_OK && config != NULL)
        error = entro_sentencepiece_read_config(&told, config, config_size, message);
    if (error == ENTRO_OK) {
        const struct entro_tokenizer_vocab vocab = {
            .model = {.data = "llama", .size = 5},
            .tokens = reading.pieces,
            .n_tokens = reading.n,
            .scores = reading.scores,
            .types = reading.types,
            .bos_id = control_id(&reading, reading.bos_id),
            .eos_id = control_id(&reading, reading.eos_id),
            .unknown_id = reading.unknown_id,
            .add_bos = told.add_bos,
            .add_eos = told.add_eos,
            .add_space_prefix = reading.dummy_prefix ? ENTRO_VOCAB_YES : ENTRO_VOCAB_NO,
            .space_prefix_at_origin_only = told.not_legacy,
            .added = told.added,
            .n_added = told.n_added,
        };
        error = entro_tokenizer_from_vocab(out, &vocab, &inner);
        if (error != ENTRO_OK)
            entro_fail(message, error, "tokenizer.model: %.700s",
                       strncmp(inner.text, "GGUF: ", 6) == 0 ? inner.text + 6 : inner.text);
    }
    entro_sentencepiece_free_config(&told);
    free(reading.pieces);
    free(reading.scores);
    free(reading.types);
    return error;
}
