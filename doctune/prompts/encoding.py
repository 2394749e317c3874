"""Texts to token ids and back: markup protected, the template around it, labels where the loss looks.

The prompt of a training example is, token for token, what the model reads when it translates. The loss sees the answer
and the token that closes it, nothing else.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from doctune.errors import DoctuneError
from doctune.placeholders import SYMBOLS, Span, protect, restore
from doctune.prompts.recipe import Recipe
from doctune.prompts.templates import TEMPLATES, TRANSLATE
from doctune.text import flatten

IGNORED = -100  # label value that the loss skips (torch.nn.functional.cross_entropy's ignore_index)


class Source(NamedTuple):
    """A source text made ready for a model, with what is needed to read its answer."""

    text: str
    spans: tuple[Span, ...]


class Example(NamedTuple):
    """Token ids of one training example; `labels` has IGNORED where the loss must not look (causal: the prompt)."""

    input_ids: Sequence[int]
    labels: Sequence[int]
    source_cut: bool
    answer_cut: bool

    @property
    def truncated(self) -> bool:
        return self.source_cut or self.answer_cut


def check_template(recipe: Recipe, seq2seq: bool, name: str) -> None:
    """Refuse a template of the other kind of model; `name` says in the message whose it is."""
    if TEMPLATES[recipe.template].seq2seq != seq2seq:
        kind = "an encoder-decoder" if seq2seq else "a causal"
        fitting = ", ".join(key for key, template in TEMPLATES.items() if template.seq2seq == seq2seq)
        raise DoctuneError(
            f"{name} is {kind} model, which the template {recipe.template} is not for; set base.template to {fitting}"
        )


def check_tokenizer(tokenizer: Any, recipe: Recipe) -> None:
    """Refuse a tokenizer that lacks what the template needs, or cannot write the recipe's placeholders or target prefix
    (they would be unknown tokens)."""
    TEMPLATES[recipe.template].check(tokenizer)
    unknown = tokenizer.unk_token_id

    def lost(text: str) -> bool:
        return unknown is not None and unknown in tokenizer(text, add_special_tokens=False)["input_ids"]

    if recipe.target_prefix and lost(recipe.target_prefix):
        raise DoctuneError(
            f"base.target_prefix is {recipe.target_prefix!r}, which the base's tokenizer cannot write; give a tag that its vocabulary has, or none"
        )
    if recipe.placeholders and (unwritten := [symbol for symbol in SYMBOLS if lost(symbol)]):
        raise DoctuneError(
            f"base.placeholders is true, but the base's tokenizer cannot write {unwritten[0]} and {len(unwritten) - 1} more; set it to false"
        )


def set_padding(tokenizer: Any, recipe: Recipe) -> None:
    """Let a tokenizer without a padding token (Llama's) pad with the end of an answer.

    Padding is known by its place, not by its id: attention masks and IGNORED labels cover it, and an end stays an end.
    """
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(end_id(tokenizer, recipe))


def prepare(recipe: Recipe, en: str, start: int = 1) -> Source:
    """Join hard-wrapped lines and protect markup; numbers begin at `start` (training varies it to teach every symbol)."""
    flat = flatten(en, "en")
    return Source(*protect(flat, start=start)) if recipe.placeholders else Source(flat, ())


def finish(recipe: Recipe, source: Source, answer: str) -> str:
    """A model's answer as publishable text: placeholders restored, links moved to the target language's root."""
    return restore(answer.strip(), source.spans, recipe.links)


def prompt_ids(tokenizer: Any, recipe: Recipe, text: str, task: str = TRANSLATE) -> list[int]:
    """Token ids that a model reads before it answers."""
    return TEMPLATES[recipe.template].prompt(tokenizer, recipe.target_prefix + text, task)


def end_id(tokenizer: Any, recipe: Recipe) -> int:
    """The token that closes an answer."""
    return TEMPLATES[recipe.template].end(tokenizer)


def encode_pair(
    tokenizer: Any, recipe: Recipe, en: str, zh: str, max_length: int, start: int = 1, task: str = TRANSLATE
) -> Example:
    """One training example, cut where it is longer than `max_length` tokens (and says so).

    Encoder-decoder: source and answer are cut apart, each keeps its end. Causal: both are one text, cut on the right, so
    a cut answer has no end and teaches none; where the prompt alone fills `max_length` there is no label left at all.
    """
    template = TEMPLATES[recipe.template]
    source = prepare(recipe, en, start)
    answer = flatten(zh, "zh")
    if source.spans:
        answer, _ = protect(answer, known=source.spans, start=start)
    prompt, labels = prompt_ids(tokenizer, recipe, source.text, task), template.answer(tokenizer, answer)
    if template.seq2seq:
        return Example(
            cut(prompt, max_length), cut(labels, max_length), len(prompt) > max_length, len(labels) > max_length
        )
    ids = prompt + labels
    masked = [IGNORED] * len(prompt) + labels
    return Example(ids[:max_length], masked[:max_length], len(prompt) > max_length, len(ids) > max_length)


def cut(ids: list[int], length: int) -> list[int]:
    """At most `length` of an encoder-decoder's ids, the closing one among them: it tells the model where a text ends."""
    return ids if len(ids) <= length else [*ids[: length - 1], ids[-1]]
