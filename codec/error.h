/*
 * The one error enum of the library, and the message that goes with an error. Nothing here prints: a
 * program's main file does.
 */
#ifndef ENTRO_ERROR_H
#define ENTRO_ERROR_H

/* X(suffix, text): the enum and its names come from this one list. */
#define ENTRO_ERRORS(X)                                                                                      \
    X(OK, "success")                                                                                         \
    X(NO_MEMORY, "out of memory")                                                                            \
    X(IO, "input/output error")                                                                              \
    X(FORMAT, "malformed data")                                                                              \
    X(CHECKSUM, "checksum mismatch")                                                                         \
    X(UNSUPPORTED, "not supported")                                                                          \
    X(ARGUMENT, "invalid argument")                                                                          \
    X(EXISTS, "exists already")                                                                              \
    X(NOT_FOUND, "not found")                                                                                \
    X(CANCELLED, "cancelled")

enum entro_error {
#define ENTRO_ERROR_ENUM(suffix, text) ENTRO_ERROR_##suffix,
    ENTRO_ERRORS(ENTRO_ERROR_ENUM)
#undef ENTRO_ERROR_ENUM
};
/* Success reads better without the word error. */
#define ENTRO_OK ENTRO_ERROR_OK

/* What went wrong, for a person: one line, no newline, names the file or tensor concerned. Owned by the
 * caller. */
struct entro_message {
    char text[1024];
};

/* The text of an error; never NULL. Thread-safe. */
const char *entro_error_name(enum entro_error error);

/* Formats a message; `message` may be NULL. Control characters (of hostile names) become '?'. */
void entro_message_set(struct entro_message *message, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static inline enum entro_error entro_error_returned(enum entro_error error)
{
    return error;
}

/* Sets the message and is the error, so that a failing path is one statement: return entro_fail(message,
 * ENTRO_ERROR_IO, "...", ...). A macro, so that compilers and analyzers see that the value is no success. */
#define entro_fail(message, error, ...)                                                                      \
    (entro_message_set((message), __VA_ARGS__), entro_error_returned(error))

#endif
