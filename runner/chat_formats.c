/*
 * The table of chat templates; see chat_formats.h. Each row writes what the Jinja program of the models named
 * beside it writes; tests/data/chat compares them. Where such a program refuses or drops system
 * messages, they go where the newer program of the same family puts them.
 */
#include "runner/chat_formats.h"

#define LLAMA3_TURN(role) "<|start_header_id|>" role "<|end_header_id|>\n\n", "<|eot_id|>", ENTRO_CHAT_TRIM

const struct entro_chat_format entro_chat_formats[] = {
    /* Known to be none of the next one: they write more */
    {.name = "smollm3", .markers = {"<|im_start|>", "## Metadata"}},
    {.name = "qwq", .markers = {"<|im_start|>assistant\\n<think>"}},
    {.name = "qwen3.5", .markers = {"<|im_start|>", "'<think>\\n'"}},
    {.name = "phi4", .markers = {"<|im_start|>", "<|im_sep|>"}},
    {.name = "hermes with tools", .markers = {"<|im_start|>", "You are a function calling AI model"}},
    /* SmolLM, SmolLM2, Qwen2, Qwen2.5, Qwen3 */
    {.name = "chatml",
     .markers = {"<|im_start|>", "<|im_end|>"},
     .turns = {{"<|im_start|>system\n", "<|im_end|>\n", ENTRO_CHAT_KEEP},
               {"<|im_start|>user\n", "<|im_end|>\n", ENTRO_CHAT_KEEP},
               {"<|im_start|>assistant\n", "<|im_end|>\n", ENTRO_CHAT_KEEP}},
     .generation_prompt = "<|im_start|>assistant\n",
     .end_of_turn = "<|im_end|>",
     .system_start = "<|im_start|>system"},
    /* Llama 3.1, 3.2, 3.3. Today's date is the one that the program has where it is told none: what is
     * written does not change from day to day. */
    {.name = "llama3.1",
     .markers = {"<|start_header_id|>", "| trim + '<|eot_id|>'", "Cutting Knowledge Date: December 2023"},
     .turns = {{"<|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December 2023\n"
                "Today Date: 26 Jul 2024\n\n",
                "<|eot_id|>", ENTRO_CHAT_TRIM},
               {LLAMA3_TURN("user")},
               {LLAMA3_TURN("assistant")}},
     .always_system = true,
     .generation_prompt = "<|start_header_id|>assistant<|end_header_id|>\n\n",
     .end_of_turn = "<|eot_id|>"},
    /* Llama 3 */
    {.name = "llama3",
     .markers = {"<|start_header_id|>", "| trim + '<|eot_id|>'"},
     .turns = {{LLAMA3_TURN("system")}, {LLAMA3_TURN("user")}, {LLAMA3_TURN("assistant")}},
     .generation_prompt = "<|start_header_id|>assistant<|end_header_id|>\n\n",
     .end_of_turn = "<|eot_id|>"},
    /* Mistral Large 2411, Small 2501: known to be none of the next ones */
    {.name = "mistral-v7", .markers = {"[INST]", "[SYSTEM_PROMPT]"}},
    /* Llama 2 Chat */
    {.name = "llama2",
     .markers = {"bos_token + '[INST] '", "<<SYS>>", ".strip()"},
     .turns = {{"", "", ENTRO_CHAT_KEEP},
               {"{bos}[INST] ", " [/INST]", ENTRO_CHAT_TRIM_WITH_SYSTEM},
               {" ", " {eos}", ENTRO_CHAT_TRIM}},
     .system = ENTRO_CHAT_IN_FIRST_USER,
     .system_before = "<<SYS>>\n",
     .system_after = "\n<</SYS>>\n\n",
     .bos_in_turns = true},
    /* Mistral 7B Instruct v0.1 and v0.2, as of 2024-09 */
    {.name = "mistral-v1",
     .markers = {"' [INST] ' + system_message"},
     .turns = {{"", "", ENTRO_CHAT_KEEP},
               {" [INST] ", " [/INST]", ENTRO_CHAT_KEEP},
               {" ", "{eos}", ENTRO_CHAT_KEEP}},
     .system = ENTRO_CHAT_IN_FIRST_USER,
     .system_before = "",
     .system_after = "\n\n"},
    /* Mistral Nemo */
    {.name = "mistral-v3-tekken",
     .markers = {"'[INST]' + system_message"},
     .turns = {{"", "", ENTRO_CHAT_KEEP},
               {"[INST]", "[/INST]", ENTRO_CHAT_KEEP},
               {"", "{eos}", ENTRO_CHAT_KEEP}},
     .system = ENTRO_CHAT_IN_LAST_USER,
     .system_before = "",
     .system_after = "\n\n"},
    /* Mistral 7B Instruct v0.3 */
    {.name = "mistral-v3",
     .markers = {"'[INST] ' + system_message"},
     .turns = {{"", "", ENTRO_CHAT_KEEP},
               {"[INST] ", "[/INST]", ENTRO_CHAT_KEEP},
               {" ", "{eos}", ENTRO_CHAT_TRIM}},
     .system = ENTRO_CHAT_IN_LAST_USER,
     .system_before = "",
     .system_after = "\n\n"},
    /* Mistral 7B Instruct v0.1, as it came out: a space after EOS */
    {.name = "mistral-v0.1",
     .markers = {"'[INST] ' + message['content'] + ' [/INST]'", "+ eos_token + ' '"},
     .turns = {{"", "", ENTRO_CHAT_KEEP},
               {"[INST] ", " [/INST]", ENTRO_CHAT_KEEP},
               {"", "{eos} ", ENTRO_CHAT_KEEP}},
     .system = ENTRO_CHAT_IN_FIRST_USER,
     .system_before = "",
     .system_after = "\n\n"},
    /* Mistral 7B Instruct v0.2, as it came out */
    {.name = "mistral-v0.2",
     .markers = {"'[INST] ' + message['content'] + ' [/INST]'"},
     .turns = {{"", "", ENTRO_CHAT_KEEP},
               {"[INST] ", " [/INST]", ENTRO_CHAT_KEEP},
               {"", "{eos}", ENTRO_CHAT_KEEP}},
     .system = ENTRO_CHAT_IN_FIRST_USER,
     .system_before = "",
     .system_after = "\n\n"},
    /* Gemma, Gemma 2, Gemma 3 */
    {.name = "gemma",
     .markers = {"<start_of_turn>", "<end_of_turn>"},
     .turns = {{"", "", ENTRO_CHAT_KEEP},
               {"<start_of_turn>user\n", "<end_of_turn>\n", ENTRO_CHAT_TRIM},
               {"<start_of_turn>model\n", "<end_of_turn>\n", ENTRO_CHAT_TRIM}},
     .system = ENTRO_CHAT_IN_FIRST_USER,
     .system_before = "",
     .system_after = "\n\n",
     .generation_prompt = "<start_of_turn>model\n",
     .end_of_turn = "<end_of_turn>"},
    /* Phi-3, Phi-3.5 mini */
    {.name = "phi3",
     .markers = {"<|user|>", "message['content'] + '<|end|>", "<|assistant|>"},
     .turns = {{"<|system|>\n", "<|end|>\n", ENTRO_CHAT_KEEP},
               {"<|user|>\n", "<|end|>\n", ENTRO_CHAT_KEEP},
               {"<|assistant|>\n", "<|end|>\n", ENTRO_CHAT_KEEP}},
     .generation_prompt = "<|assistant|>\n",
     .end_of_turn = "<|end|>"},
    /* TinyLlama Chat, Zephyr */
    {.name = "zephyr",
     .markers = {"<|user|>", "<|assistant|>", "message['content'] + eos_token"},
     .turns = {{"<|system|>\n", "{eos}\n", ENTRO_CHAT_KEEP},
               {"<|user|>\n", "{eos}\n", ENTRO_CHAT_KEEP},
               {"<|assistant|>\n", "{eos}\n", ENTRO_CHAT_KEEP}},
     .generation_prompt = "<|assistant|>\n"},
};
const size_t entro_chat_n_formats = sizeof entro_chat_formats / sizeof entro_chat_formats[0];
