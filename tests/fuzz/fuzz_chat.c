/* Input: the text of a chat template, a zero byte, and a text that is every message of a conversation. */
#include "runner/chat.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition)
        abort();
}

static void write_conversation(const struct entro_chat *chat, const char *text, size_t size)
{
    static const struct entro_chat_ends ends = {.bos = "<s>", .bos_size = 3, .eos = "</s>", .eos_size = 4};
    const struct entro_chat_message messages[] = {
        {.role = ENTRO_CHAT_SYSTEM, .content = text, .size = size},
        {.role = ENTRO_CHAT_USER, .content = text, .size = size},
        {.role = ENTRO_CHAT_ASSISTANT, .content = text, .size = size},
        {.role = ENTRO_CHAT_USER, .content = text, .size = size},
    };
    for (size_t first = 0; first < 2; first++) {
        struct entro_text out = {0};
        require(entro_chat_render(chat, messages + first, 4 - first, true, &ends, &out, NULL) == ENTRO_OK);
        entro_text_free(&out);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *zero = size > 0 ? memchr(data, 0, size) : NULL;
    size_t template_size = zero != NULL ? (size_t)(zero - data) : size;
    const char *text = zero != NULL ? (const char *)zero + 1 : "";
    size_t text_size = zero != NULL ? size - template_size - 1 : 0;
    struct entro_chat chat;
    struct entro_message message = {""};
    if (entro_chat_detect(&chat, (const char *)data, template_size, &message) == ENTRO_OK) {
        write_conversation(&chat, text, text_size);
        entro_chat_free(&chat);
    } else {
        require(message.text[0] != '\0');
    }
    for (size_t i = 0; entro_chat_known_name(i) != NULL; i++) {
        require(entro_chat_by_name(&chat, entro_chat_known_name(i), NULL) == ENTRO_OK);
        write_conversation(&chat, text, text_size);
        entro_chat_free(&chat);
    }
    return 0;
}
