/* What is known of each chat template: how its Jinja text is recognised and what it writes. */
#ifndef ENTRO_CHAT_FORMATS_H
#define ENTRO_CHAT_FORMATS_H

#include <stdbool.h>
#include <stddef.h>

/* Where a system message goes. */
enum entro_chat_system {
    ENTRO_CHAT_SYSTEM_TURN,   /* a turn of its own */
    ENTRO_CHAT_IN_FIRST_USER, /* before the first message's content, which is a user's */
    ENTRO_CHAT_IN_LAST_USER   /* likewise in the last message, if that is a user's */
};

/* White space at the ends of a content that is not written (Jinja's trim). */
enum entro_chat_trim {
    ENTRO_CHAT_KEEP,
    ENTRO_CHAT_TRIM,
    ENTRO_CHAT_TRIM_WITH_SYSTEM /* of the content with a system message before it */
};

/* Within these texts {bos} and {eos} stand for the model's tokens. */
struct entro_chat_turn {
    const char *before;
    const char *after;
    enum entro_chat_trim trim;
};

#define ENTRO_CHAT_MARKERS 3

struct entro_chat_format {
    const char *name;
    const char *markers[ENTRO_CHAT_MARKERS]; /* a template text that has them all is of this format; ' stands
                                                for either quotation mark */
    struct entro_chat_turn turns[3];         /* by role; a `before` NULL: recognised, but not written */
    enum entro_chat_system system;
    const char *system_before; /* around a system message within a user's turn */
    const char *system_after;
    bool always_system;            /* the system turn is written even if there is no message */
    bool bos_in_turns;             /* {bos} is in the turns, never before them */
    const char *generation_prompt; /* NULL: none */
    const char *end_of_turn;       /* NULL: the model's EOS */
    const char *system_start; /* NULL, or: after it and a line end a template text may spell out a default
                                 system message, up to end_of_turn */
};

/* In order: the first whose markers are all there counts. Constant. */
extern const struct entro_chat_format entro_chat_formats[];
extern const size_t entro_chat_n_formats;

#endif
