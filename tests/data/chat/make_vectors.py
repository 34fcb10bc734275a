#!/usr/bin/env python3
"""Writes vectors.json: conversations written by chat templates, rendered with jinja2 the way transformers' apply_chat_template does.

    pip install jinja2 && python3 make_vectors.py

The templates are short ones that do what the named models' own do. With files as arguments (a model's chat_template.jinja each), those
are rendered instead, to the standard output: `test_chat_vectors FILE` then checks a real model's template.
"""
import json
import pathlib
import sys

import jinja2
import jinja2.sandbox

HERE = pathlib.Path(__file__).resolve().parent

CHATML_LOOP = "{% for m in messages %}{{'<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>' + '\\n'}}{% endfor %}"
CHATML_PROMPT = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
SPLIT_SYSTEM = """{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
"""
MISTRAL = SPLIT_SYSTEM + """{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if loop.WHERE and system_message is defined %}
            {{- "OPEN" + system_message + "\\n\\n" + message["content"] + "CLOSE" }}
        {%- else %}
            {{- "OPEN" + message["content"] + "CLOSE" }}
        {%- endif %}
    {%- elif message["role"] == "assistant" %}
        {{- ANSWER + eos_token }}
    {%- endif %}
{%- endfor %}
"""
OLD_MISTRAL = ("{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
               "{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_tokenAFTER }}{% else %}{{ raise_exception('roles') }}{% endif %}{% endfor %}")


def mistral(opening, closing, answer, where):
    return MISTRAL.replace("OPEN", opening).replace("CLOSE", closing).replace("ANSWER", answer).replace("WHERE", where)


# Each: what it stands for, the format that it is to be recognised as, BOS and EOS, the template.
TEMPLATES = [
    ("SmolLM", "chatml", "<|im_start|>", "<|im_end|>", CHATML_LOOP + CHATML_PROMPT),
    ("SmolLM2", "chatml", "<|im_start|>", "<|im_end|>",
     "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}{% endif %}"
     "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
     "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"),
    ("Qwen2.5", "chatml", "", "<|im_end|>", """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0]['role'] == 'system' %}
        {{- messages[0]['content'] }}
    {%- else %}
        {{- 'You are kind.' }}
    {%- endif %}
    {{- "\\n\\n# Tools\\n" }}
{%- else %}
    {%- if messages[0]['role'] == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>system\\nYou are kind.<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- for message in messages %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) or (message.role == "assistant") %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""),
    ("Qwen3", "chatml", "", "<|im_end|>", """{%- for message in messages %}
    {%- set content = message.content %}
    {%- if message.role == "assistant" and '</think>' in content %}
        {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
    {%- endif %}
    {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
"""),
    ("Llama 2", "llama2", "<s>", "</s>",
     "{% if messages[0]['role'] == 'system' %}{% set rest = messages[1:] %}{% set system = messages[0]['content'] %}{% else %}{% set rest = messages %}{% set system = false %}{% endif %}"
     "{% for message in rest %}{% if loop.index0 == 0 and system != false %}{% set content = '<<SYS>>\\n' + system + '\\n<</SYS>>\\n\\n' + message['content'] %}{% else %}{% set content = message['content'] %}{% endif %}"
     "{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"),
    ("Mistral 7B v0.1, first", "mistral-v0.1", "<s>", "</s>", OLD_MISTRAL.replace("AFTER", " + ' '")),
    ("Mistral 7B v0.2, first", "mistral-v0.2", "<s>", "</s>", OLD_MISTRAL.replace("AFTER", "")),
    ("Mistral 7B v0.2, in single quotes", "mistral-v1", "<s>", "</s>", mistral(" [INST] ", " [/INST]", '" " + message["content"]', "first").replace('"', "'")),
    ("Mistral 7B v0.2", "mistral-v1", "<s>", "</s>", mistral(" [INST] ", " [/INST]", '" " + message["content"]', "first")),
    ("Mistral 7B v0.3", "mistral-v3", "<s>", "</s>", mistral("[INST] ", "[/INST]", '" " + message["content"]|trim', "last")),
    ("Mistral Nemo", "mistral-v3-tekken", "<s>", "</s>", mistral("[INST]", "[/INST]", 'message["content"]', "last")),
    ("Llama 3", "llama3", "<|begin_of_text|>", "<|eot_id|>",
     "{% for message in messages %}{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' %}"
     "{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}{{ content }}{% endfor %}"
     "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"),
    ("Llama 3.1", "llama3.1", "<|begin_of_text|>", "<|eot_id|>", """{{- bos_token }}
{%- if not date_string is defined %}
    {%- set date_string = "26 Jul 2024" %}
{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{{- "Cutting Knowledge Date: December 2023\\n" }}
{{- "Today Date: " + date_string + "\\n\\n" }}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""),
    ("Phi-3", "phi3", "<s>", "<|endoftext|>",
     "{% for message in messages %}{% if message['role'] == 'system' %}{{'<|system|>\\n' + message['content'] + '<|end|>\\n'}}{% elif message['role'] == 'user' %}{{'<|user|>\\n' + message['content'] + '<|end|>\\n'}}"
     "{% elif message['role'] == 'assistant' %}{{'<|assistant|>\\n' + message['content'] + '<|end|>\\n'}}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"),
    ("Gemma 2", "gemma", "<bos>", "<eos>",
     "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}{% for m in messages %}{% set role = 'model' if m['role'] == 'assistant' else m['role'] %}"
     "{{ '<start_of_turn>' + role + '\\n' + m['content'] | trim + '<end_of_turn>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"),
    ("Gemma 3", "gemma", "<bos>", "<eos>", """{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- set prefix = messages[0]['content'] + '\n\n' -%}
    {%- set rest = messages[1:] -%}
{%- else -%}
    {%- set prefix = "" -%}
    {%- set rest = messages -%}
{%- endif -%}
{%- for message in rest -%}
    {%- set role = "model" if message['role'] == 'assistant' else message['role'] -%}
    {{ '<start_of_turn>' + role + '\n' + (prefix if loop.first else "") }}
    {{- message['content'] | trim }}
    {{- '<end_of_turn>\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{'<start_of_turn>model\n'}}
{%- endif -%}
"""),
    ("TinyLlama", "zephyr", "<s>", "</s>",
     "{% for message in messages %}\n{% if message['role'] == 'user' %}\n{{ '<|user|>\n' + message['content'] + eos_token }}\n{% elif message['role'] == 'system' %}\n"
     "{{ '<|system|>\n' + message['content'] + eos_token }}\n{% elif message['role'] == 'assistant' %}\n{{ '<|assistant|>\n'  + message['content'] + eos_token }}\n{% endif %}\n"
     "{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}"),
]


def turns(*pairs):
    return [{"role": role, "content": content} for role, content in pairs]


CONVERSATIONS = [
    turns(("user", "Hello")),
    turns(("system", "Be brief."), ("user", "Hello")),
    turns(("user", "Hello"), ("assistant", "Hi there"), ("user", "Who are you?")),
    turns(("system", "Be kind.\nBe brief."), ("user", "Hello"), ("assistant", "Hi there"), ("user", "Who are you?"), ("assistant", "A model."), ("user", "Fine.")),
    turns(("system", "  spaces around \n"), ("user", "\n\t spaces \u00a0\u3000"), ("assistant", "  around  "), ("user", "\u001f x \u2028\u0085")),
    turns(("system", "x"), ("user", " \n ")),
    turns(("user", ""), ("assistant", ""), ("user", "  ")),
    turns(("user", "{bos} {eos} <|im_end|> [INST] {{ x }}"), ("assistant", "<think>\nlong\n</think>\n\n42"), ("user", "\u4f60\u597d \U0001f600 \u200b")),
    turns(("user", "Hello"), ("assistant", "Hi there")),
    turns(("system", "Be brief."), ("user", "Hello"), ("assistant", " Hi there\n")),
]


def render(template, messages, generation, bos, eos):
    def refuse(text):
        raise jinja2.TemplateError(text)

    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    environment.globals["raise_exception"] = refuse
    return environment.from_string(template).render(messages=messages, add_generation_prompt=generation, bos_token=bos, eos_token=eos)


def vectors(name, known_as, bos, eos, template):
    cases = []
    for messages in CONVERSATIONS:
        for generation in (True, False):
            try:
                text = render(template, messages, generation, bos, eos)
            except jinja2.TemplateError:
                continue
            cases.append({"messages": [[m["role"], m["content"]] for m in messages], "generation": generation, "text": text})
    return {"name": name, "format": known_as, "bos": bos, "eos": eos, "template": template, "cases": cases}


def main():
    if len(sys.argv) > 1:
        json.dump([vectors(path, None, "<bos>", "<eos>", pathlib.Path(path).read_text()) for path in sys.argv[1:]], sys.stdout)
        return
    lines = ["[" + ",\n".join(json.dumps(vectors(*template)) for template in TEMPLATES) + "]\n"]
    (HERE / "vectors.json").write_text("".join(lines))


if __name__ == "__main__":
    main()
