"""How a text becomes a model's input and a translation its labels: one module for training, translation and serving.

A model folder says how it wants to be spoken to in its `doctune.json` (a `Recipe`):

    {"template": "plain", "placeholders": true, "links": {"/docs/": "/zh-cn/docs/"}, "target_prefix": ""}

`plain` gives an encoder-decoder model the bare text. `chatml` is the Qwen recipe: system, user, assistant; the loss sees
the assistant's answer only.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from doctune.errors import DoctuneError
from doctune.files import read_json, write_json
from doctune.placeholders import SYMBOLS, Span, protect, restore
from doctune.section import Section, validate
from doctune.text import flatten

RECIPE_FILE = "doctune.json"
IGNORED = -100  # label value that the loss skips (torch.nn.functional.cross_entropy's ignore_index)

CHATML_END = "<|im_end|>"
CHATML_SYSTEM = (
    "You are a professional English to Chinese translator of technical documentation. "
    "Translate the user's text into Simplified Chinese. Preserve the formatting and the technical terms."
)


class Recipe(Section):
    """How a model is prompted: its template, whether markup travels as placeholders, where links of the target language live."""

    template: Literal["plain", "chatml"]
    placeholders: bool
    links: dict[str, str]
    target_prefix: str


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


def read_recipe(model: Path) -> Recipe:
    path = model / RECIPE_FILE
    if not path.is_file():
        raise DoctuneError(
            f"{path} does not exist, so nobody knows how {model} is prompted; make the folder with the base or train stage"
        )
    return validate(Recipe, read_json(path), f"{path}:")


def write_recipe(model: Path, recipe: Recipe) -> None:
    write_json(model / RECIPE_FILE, recipe.model_dump())


def check_tokenizer(tokenizer: Any, recipe: Recipe) -> None:
    """Refuse a tokenizer that cannot write the recipe's placeholders (they would come back as unknown tokens)."""
    if recipe.placeholders:
        unknown = tokenizer.unk_token_id
        lost = (
            [s for s in SYMBOLS if unknown in tokenizer(s, add_special_tokens=False)["input_ids"]]
            if unknown is not None
            else []
        )
        if lost:
            raise DoctuneError(
                f"base.placeholders is true, but the base's tokenizer cannot write {lost[0]} and {len(lost) - 1} more; set it to false"
            )


def prepare(recipe: Recipe, en: str, start: int = 1) -> Source:
    """Join hard-wrapped lines and protect markup; numbers begin at `start` (training varies it to teach every symbol)."""
    flat = flatten(en, "en")
    return Source(*protect(flat, start=start)) if recipe.placeholders else Source(flat, ())


def finish(recipe: Recipe, source: Source, answer: str) -> str:
    """A model's answer as publishable text: placeholders restored, links moved to the target language's root."""
    return restore(answer.strip(), source.spans, recipe.links)


def prompt_ids(tokenizer: Any, recipe: Recipe, text: str) -> list[int]:
    """Token ids that a model reads before it answers."""
    if recipe.template == "plain":
        return list(tokenizer(recipe.target_prefix + text)["input_ids"])
    messages = [{"role": "system", "content": CHATML_SYSTEM}, {"role": "user", "content": text}]
    return list(tokenizer.apply_chat_template(messages, tokenize=True, add_generation_prompt=True, return_dict=False))


def end_id(tokenizer: Any, recipe: Recipe) -> int:
    """The token that closes an answer."""
    if recipe.template == "plain":
        return int(tokenizer.eos_token_id)
    token = tokenizer.convert_tokens_to_ids(CHATML_END)
    if token is None or token == tokenizer.unk_token_id:
        raise DoctuneError(
            f"base.template is chatml, but the base's tokenizer has no {CHATML_END}; use a base of the Qwen family"
        )
    return int(token)


def encode_pair(tokenizer: Any, recipe: Recipe, en: str, zh: str, max_length: int, start: int = 1) -> Example:
    """One training example. Longer sources or answers than `max_length` tokens are cut (and say so)."""
    source = prepare(recipe, en, start)
    answer = flatten(zh, "zh")
    if source.spans:
        answer, _ = protect(answer, known=source.spans, start=start)
    prompt = prompt_ids(tokenizer, recipe, source.text)
    if recipe.template == "plain":
        labels = list(tokenizer(text_target=answer)["input_ids"])
        cut = len(prompt) > max_length, len(labels) > max_length
        return Example(_cut(prompt, max_length), _cut(labels, max_length), *cut)
    ids = [*tokenizer(answer, add_special_tokens=False)["input_ids"], end_id(tokenizer, recipe)]
    cut = len(prompt) > max_length, len(prompt) + len(ids) > max_length
    labels = [IGNORED] * len(prompt) + ids
    return Example((prompt + ids)[:max_length], labels[:max_length], *cut)


def _cut(ids: list[int], length: int) -> list[int]:
    """Keep the closing token, which tells the model where a text ends."""
    return ids if len(ids) <= length else [*ids[: length - 1], ids[-1]]
