"""A chat template → the texts around and between the messages of a conversation, and which of them the model writes.

A template is rendered once for each sequence of roles, with a mark for every message. So a text of somebody's is never part of a
template's program, is never read as one of its special tokens, and templates cost no time in training.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, NamedTuple

from trainer_bridge.data.chat_tokenizer import END, TEMPLATE
from trainer_bridge.data.instructions.dialogue import Role
from trainer_bridge.data.instructions.example import SampleFault

OWN, BASE = "pairmill", "base"
_TURNS = (
    "{{% for message in messages %}}<|im_start|>{{{{ message['role'] }}}}\n"
    "{{% if message['content'] is string %}}{{{{ message['content'] }}}}{{% else %}}{{% for part in message['content'] %}}"
    "{{% if part['type'] == 'image' %}}<IMG_CONTEXT>\n{{% elif part['type'] == 'text' %}}{{{{ part['text'] }}}}{{% endif %}}"
    "{{% endfor %}}{{% endif %}}<|im_end|>{end}{{% endfor %}}{{% if add_generation_prompt %}}<|im_start|>assistant\n{{% endif %}}"
)
_SYSTEM = "{{% if messages[0]['role'] != 'system' %}}<|im_start|>system\n{text}<|im_end|>{end}{{% endif %}}"
# The system's words when a conversation has none of its own. Source: conversation.py of InternVL and of Mono-InternVL.
_INTERNVL_2_5 = "你是书生·万象，英文名是InternVL，是由上海人工智能实验室、清华大学及多家合作单位联合开发的多模态大语言模型。"
_MONO = "你是由上海人工智能实验室联合商汤科技开发的书生多模态大模型，英文名叫InternVL, 是一个有用无害的人工智能助手。"
# name → jinja; `pairmill` has a space before each answer, as the repository's small models do
TEMPLATES = {
    OWN: TEMPLATE,
    "chatml": _TURNS.format(end="\n"),
    "internvl2_5": _SYSTEM.format(text=_INTERNVL_2_5, end="\n") + _TURNS.format(end="\n"),
    "mono": "{{ bos_token }}" + _SYSTEM.format(text=_MONO, end="") + _TURNS.format(end=""),
}
_MARK = re.compile("\ue000(\\d+)\ue001")


class Part(NamedTuple):
    """A piece of a rendered template: a special token or a text, and whether the model writes it."""

    text: str
    special: bool
    learned: bool


def special_tokens(tokenizer: Any) -> dict[str, int]:
    """The special tokens of a fast tokenizer, with their ids."""
    added = tokenizer.backend_tokenizer.get_added_tokens_decoder()
    return {token.content: number for number, token in added.items() if token.special}


class ChatTemplate:
    """How conversations are written for a tokenizer; `jinja` is what a saved model has as its chat template,
    and `end` the token that ends an answer.
    """

    def __init__(self, tokenizer: Any, name: str = BASE) -> None:
        """`name`: of TEMPLATES, or `base` for the tokenizer's own; ValueError when it has none or there is no such template."""
        jinja = tokenizer.chat_template if name == BASE else TEMPLATES.get(name)
        if not isinstance(jinja, str):
            raise ValueError(
                "the tokenizer has no chat template; name one of " + ", ".join(TEMPLATES)
                if name == BASE
                else f"there is no chat template {name!r}; known are {BASE}, {', '.join(TEMPLATES)}"
            )
        self.tokenizer, self.jinja = tokenizer, jinja
        special = sorted(special_tokens(tokenizer), key=len, reverse=True)
        self._special = re.compile("|".join(map(re.escape, special)) or "(?!)")
        self.trims = "\tx\t" not in self._render(("user", "assistant"), mark="\tx\t")
        self.around = lru_cache(4096)(self._around)
        after = self.around(("user", "assistant"))[-1]
        self.end = next((part.text for part in after if part.special), END)

    def _around(self, roles: tuple[Role, ...]) -> tuple[tuple[Part, ...], ...]:
        """The parts before the first message, between each two, and after the last; SampleFault when it takes no such roles."""
        texts = _MARK.split(self._rendered(roles))
        if texts[1::2] != [str(i) for i in range(len(roles))]:
            raise SampleFault("template", f"the chat template leaves out turns of {', '.join(roles[:8])}")
        around = []
        prompts: dict[
            str, int
        ] = {}  # by the text before an answer: rendered for each answer, it would take the square of their number
        for number, text in enumerate(texts[0::2]):
            end = self._special.search(text) if number and roles[number - 1] == "assistant" else None
            first = end.end() if end else 0
            last = len(text)
            if roles[number:][:1] == ("assistant",):
                if text not in prompts:
                    prompts[text] = self._prompt(roles[:number], text)
                last = prompts[text]
            pieces = ((text[:first], True), (text[first:last], False), (text[max(first, last) :], True))
            around.append(tuple(part for piece, learned in pieces for part in self._split(piece, learned)))
        return tuple(around)

    def _prompt(self, roles: tuple[Role, ...], text: str) -> int:
        """How much of the text before an answer is given to the model: what it is prompted with after these messages.

        The rest, a space in some templates, it has to write itself.
        """
        prompt = _MARK.split(self._rendered(roles, prompt=True))[-1]
        return len(prompt) if text.startswith(prompt) else len(text)

    def _rendered(self, roles: tuple[Role, ...], prompt: bool = False) -> str:
        try:
            return self._render(roles, prompt)
        except Exception as error:  # templates raise what they like
            raise SampleFault("template", f"the chat template refuses turns of {', '.join(roles[:8])}: {error}") from None

    def _split(self, text: str, learned: bool) -> list[Part]:
        """A text as special tokens and the texts between them."""
        parts, start = [], 0
        for match in self._special.finditer(text):
            parts += [Part(text[start : match.start()], False, learned), Part(match.group(), True, learned)]
            start = match.end()
        return [part for part in (*parts, Part(text[start:], False, learned)) if part.text]

    def _render(self, roles: tuple[Role, ...], prompt: bool = False, mark: str = "") -> str:
        """The conversation of these roles, with a mark in place of each message."""
        messages = [{"role": role, "content": mark or f"\ue000{i}\ue001"} for i, role in enumerate(roles)]
        render = self.tokenizer.apply_chat_template
        return str(render(messages, chat_template=self.jinja, tokenize=False, add_generation_prompt=prompt))
