"""What stands around a source text, and the token that closes an answer: one class a template.

    template = TEMPLATES["instruct"]
    template.prompt(tokenizer, "A Pod runs.", "translate")     # ids of "### Instruction:\\n...\\n\\n### Response:\\n"
    template.answer(tokenizer, "Pod 在运行。")                   # ids as the tokenizer writes them right after a prompt, and the end
    template.end(tokenizer)                                    # the id that closes an answer

`plain` gives an encoder-decoder model the bare text. The others are for causal models: `chatml` is Qwen's chat, `sep` is
Yuan 2's `source<sep>answer<eod>`, `instruct` Alpaca's three headings. A row's task says which instruction a template gives:
`translate`, or `term` for a glossary's entry, whose answer is the term's rendering. `plain` has no instruction: to it a
term is a short text, and its rendering the translation, so it takes both tasks in the same way.

Pages may speak of a model's own markers (`</s>`, `<|im_end|>`): in a text they are characters like others, not the tokens
that open and close turns, or a page could end its own prompt and begin another.
"""

from typing import Any, Protocol

from doctune.errors import DoctuneError
from doctune.prompts.recipe import TemplateName

TRANSLATE, TERM = "translate", "term"
TASKS = (TRANSLATE, TERM)

INSTRUCTIONS = {
    TRANSLATE: (
        "You are a professional English to Chinese translator of technical documentation. "
        "Translate the user's text into Simplified Chinese. Preserve the formatting and the technical terms."
    ),
    TERM: (
        "You are a professional English to Chinese translator of technical documentation. "
        "The user's text is a term. Answer with its rendering in Simplified Chinese and nothing else."
    ),
}
PHRASES = {TRANSLATE: "", TERM: "术语："}  # what Yuan reads before the text


class Template(Protocol):
    """`seq2seq` says which kind of model it is for; `check` raises a DoctuneError where a tokenizer lacks what it needs."""

    seq2seq: bool

    def check(self, tokenizer: Any) -> None: ...

    def prompt(self, tokenizer: Any, text: str, task: str) -> list[int]: ...

    def answer(self, tokenizer: Any, text: str) -> list[int]: ...

    def end(self, tokenizer: Any) -> int: ...


class Plain:
    """The text as it is: what OPUS-MT and doctune's own base were trained on."""

    seq2seq = True

    def check(self, tokenizer: Any) -> None:
        self.end(tokenizer)

    def prompt(self, tokenizer: Any, text: str, task: str) -> list[int]:
        _known(task)
        return list(tokenizer(text, split_special_tokens=True, verbose=False)["input_ids"])

    def answer(self, tokenizer: Any, text: str) -> list[int]:
        return list(tokenizer(text_target=text, split_special_tokens=True, verbose=False)["input_ids"])

    def end(self, tokenizer: Any) -> int:
        return _eos(tokenizer, "plain")


class Chatml:
    """Qwen's chat: the instruction as system prompt, the text as the user's turn; `<|im_end|>` closes the assistant's."""

    seq2seq = False
    closing = "<|im_end|>"
    place = "\ue000"  # of the text, in the rendered chat: a character that is no character

    def check(self, tokenizer: Any) -> None:
        self.end(tokenizer)
        if not tokenizer.chat_template:
            raise DoctuneError(
                "base.template is chatml, but the base's tokenizer has no chat template; use a base that has one"
            )
        if self._chat(tokenizer, TRANSLATE).count(self.place) != 1:
            raise DoctuneError(
                "base.template is chatml, but the chat template of the base's tokenizer does not show a user's text once and as it is; use a base of the Qwen family"
            )

    def prompt(self, tokenizer: Any, text: str, task: str) -> list[int]:
        before, _, after = self._chat(tokenizer, task).partition(self.place)
        return [*_control(tokenizer, before), *_after(tokenizer, before[-1:], text), *_control(tokenizer, after)]

    def _chat(self, tokenizer: Any, task: str) -> str:
        messages = [
            {"role": "system", "content": INSTRUCTIONS[_known(task)]},
            {"role": "user", "content": self.place},
        ]
        return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))

    def answer(self, tokenizer: Any, text: str) -> list[int]:
        return [*_after(tokenizer, "\n", text), self.end(tokenizer)]

    def end(self, tokenizer: Any) -> int:
        return _token(tokenizer, self.closing, "chatml", "use a base of the Qwen family")


class Sep:
    """Yuan 2's `source<sep>answer<eod>`, without a token that opens the text; a term has a short phrase before it."""

    seq2seq = False
    parting, closing = "<sep>", "<eod>"

    def check(self, tokenizer: Any) -> None:
        for token in (self.parting, self.closing):
            self._id(tokenizer, token)

    def prompt(self, tokenizer: Any, text: str, task: str) -> list[int]:
        return [*_ids(tokenizer, PHRASES[_known(task)] + text), self._id(tokenizer, self.parting)]

    def answer(self, tokenizer: Any, text: str) -> list[int]:
        return [*_after_marker(tokenizer, self.parting, text), self.end(tokenizer)]

    def end(self, tokenizer: Any) -> int:
        return self._id(tokenizer, self.closing)

    def _id(self, tokenizer: Any, token: str) -> int:
        return _token(tokenizer, token, "sep", "use a base of the Yuan 2 family")


class Instruct:
    """Alpaca's headings, opened as the tokenizer opens every text (Llama: `<s>`); the end of text closes an answer."""

    seq2seq = False

    def check(self, tokenizer: Any) -> None:
        self.end(tokenizer)

    def prompt(self, tokenizer: Any, text: str, task: str) -> list[int]:
        opening = list(tokenizer("")["input_ids"][:1])
        headed = f"### Instruction:\n{INSTRUCTIONS[_known(task)]}\n\n### Input:\n{text}\n\n### Response:\n"
        return [*(opening if opening == [tokenizer.bos_token_id] else []), *_ids(tokenizer, headed)]

    def answer(self, tokenizer: Any, text: str) -> list[int]:
        return [*_after(tokenizer, "\n", text), self.end(tokenizer)]

    def end(self, tokenizer: Any) -> int:
        return _eos(tokenizer, "instruct")


TEMPLATES: dict[TemplateName, Template] = {"plain": Plain(), "chatml": Chatml(), "sep": Sep(), "instruct": Instruct()}


def _known(task: str) -> str:
    if task not in TASKS:
        raise DoctuneError(
            f"wanted a row's task to be one of {', '.join(TASKS)}, got {task!r}; correct the row's source"
        )
    return task


def _control(tokenizer: Any, text: str) -> list[int]:
    """Ids of a template's own words, markers and all."""
    return list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])


def _ids(tokenizer: Any, text: str) -> list[int]:
    """Ids of a text, in which a marker is spelled out."""
    return list(tokenizer(text, add_special_tokens=False, split_special_tokens=True, verbose=False)["input_ids"])


def _after(tokenizer: Any, before: str, text: str) -> list[int]:
    """`text` as the tokenizer writes it right after `before`, the last words of the prompt.

    SentencePiece tokenizers put a space before a text that stands alone. Learnt from those ids, every answer would begin
    with a space that no text has after a line break, and that the pretrained model never saw there.
    """
    head, whole = _ids(tokenizer, before), _ids(tokenizer, before + text)
    return whole[len(head) :] if whole[: len(head)] == head else _ids(tokenizer, text)


def _after_marker(tokenizer: Any, marker: str, text: str) -> list[int]:
    """The same right after a marker, where older SentencePiece tokenizers do put that space."""
    as_alone = [*_control(tokenizer, marker), *_ids(tokenizer, "Pod")]
    return _ids(tokenizer, text) if _control(tokenizer, f"{marker}Pod") == as_alone else _after(tokenizer, "\n", text)


def _token(tokenizer: Any, token: str, template: str, advice: str) -> int:
    found = tokenizer.convert_tokens_to_ids(token)
    if found is None or found == tokenizer.unk_token_id:
        raise DoctuneError(f"base.template is {template}, but the base's tokenizer has no {token}; {advice}")
    return int(found)


def _eos(tokenizer: Any, template: str) -> int:
    if tokenizer.eos_token_id is None:
        raise DoctuneError(
            f"base.template is {template}, but the base's tokenizer has no token that ends a text (eos_token); set one in its tokenizer_config.json"
        )
    return int(tokenizer.eos_token_id)
