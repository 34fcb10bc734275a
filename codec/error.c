/* Error names and messages; see error.h. */
#include "codec/error.h"

#include <stdarg.h>
#include <stdio.h>

const char *entro_error_name(enum entro_error error)
{
    static const char *const names[] = {
#define ENTRO_ERROR_NAME(suffix, text) text,
        ENTRO_ERRORS(ENTRO_ERROR_NAME)
#undef ENTRO_ERROR_NAME
    };
    if ((unsigned)error >= sizeof names / sizeof names[0])
        return "unknown error";
    return names[error];
}

void entro_message_set(struct entro_message *message, const char *format, ...)
{
    if (message != NULL) {
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(message->text, sizeof message->text, format, arguments);
        va_end(arguments);
        /* Names of files and tensors may hold anything; a message is one line and does not steer a terminal.
         */
        for (char *c = message->text; *c != '\0'; c++)
            if ((unsigned char)*c < ' ' || *c == '\x7f')
                *c = '?';
    }
}
