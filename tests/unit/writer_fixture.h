/* What the tests of the writer share: streams by formula, and a writer in a folder of its own. */
#ifndef ENTRO_WRITER_FIXTURE_H
#define ENTRO_WRITER_FIXTURE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/writer.h"
#include "image_fixture.h"

/* Bytes of a stream by their position: any range can be made at any time. */
struct pattern {
    uint64_t seed;
    unsigned kind;                 /* 0: noise, 1: peaked, 2: constant for long runs, 3: one byte */
    uint64_t fails_at;             /* bytes to produce, in both passes, before it fails; UINT64_MAX: never */
    enum entro_error error;        /* with this; ENTRO_OK: other bytes come instead */
    atomic_uint_fast64_t produced; /* bytes so far */
};

#define PATTERN(seed_, kind_) ((struct pattern){.seed = (seed_), .kind = (kind_), .fails_at = UINT64_MAX})

uint8_t pattern_byte(const struct pattern *pattern, uint64_t i);

/* A producer whose context is a pattern. */
enum entro_error pattern_produce(void *context, uint64_t offset, size_t size_bytes, uint8_t *target,
                                 struct entro_message *message);

struct writer_setting {
    struct fixture_folder folder;
    struct entro_pool *pool;
    struct entro_message message;
};

/* Set-up and tear-down of a test whose state is a writer_setting. */
int writer_set_up(void **state);
int writer_tear_down(void **state);

/* These fail the test where they fail. writer_finish frees the writer; writer_add gives the number of the
 * stream. */
struct entro_writer *writer_start(struct writer_setting *setting, bool replace);
void writer_finish(struct writer_setting *setting, struct entro_writer *writer);
struct entro_image *writer_open_image(struct writer_setting *setting);
uint32_t writer_add(struct writer_setting *setting, struct entro_writer *writer, const void *bytes,
                    size_t size, struct entro_stream_summary *summary);

/* A good tensor of 4 x 32 codes. */
struct entro_tensor writer_u8_tensor(const char *name, uint32_t stream);

#endif
