"""Back-translation: Chinese that has no English gets one from a Chinese-to-English model, so that it can be trained on.

    answers(["节点已就绪。"], translate, memo=Path(".doctune/backtranslation/3f2a..."))       # ["The node is ready."]
    degenerate("节点已就绪。", "the the the the the")                                         # "looping"

The genuine text is the target, so what the model learns to write is good Chinese; a fault of the made-up source costs
little. Answers are kept a chunk at a time, and a run that was killed goes on with the next one.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

from doctune.errors import DoctuneError
from doctune.extra.params import BackTranslation, ExtraParams
from doctune.files import hash_path, hash_text, read_json, write_json
from doctune.models import is_adapter
from doctune.text import flatten, has_cjk, match_key

Translate = Callable[[Sequence[str]], list[str]]

CHUNK = 64  # texts on average
_CODE = ("extra/backtranslation.py", "translation.py", "models.py", "prompts", "placeholders.py", "text.py")
_STUTTER = re.compile(r"([A-Za-z]{1,12}?)\1{5,}")  # a piece of a word six times over
_PHRASE = 8  # words; a loop of a longer phrase does not fit into an answer often enough to be told from a list
_TIMES = 3  # a phrase said three times in a row, or a word four times


def back_translate(source: BackTranslation, params: ExtraParams, texts: Sequence[str], work: Path) -> list[str]:
    """English of Chinese texts, in their order, by the source's model; `work` keeps answers from one run to the next."""
    model, base = params.inside(source.model), params.inside(source.base) if source.base else None
    for folder in filter(None, (model, base)):
        if not (folder / "config.json").is_file() and not is_adapter(folder):
            raise DoctuneError(
                f"extra source {source.name}: {folder} is no model folder (it has no config.json); put a "
                "Chinese-to-English model there, made as the stage `base` makes one"
            )
    if base is None and is_adapter(model):
        raise DoctuneError(
            f"extra source {source.name}: {model} holds an adapter; say where its base model is (base: ...)"
        )
    memo = work / _key(model, base, source.beams)
    translators: list[Translate] = []

    def translate(batch: Sequence[str]) -> list[str]:
        if not translators:  # the memo may have every answer: then no model is opened
            from doctune.translation import DEFAULTS, load_translator

            decoding = DEFAULTS.model_copy(update={"beams": source.beams})
            translators.append(load_translator(model, base, decoding).translate)
        return translators[0](batch)

    def progress(done: int) -> None:
        print(f"{source.name}: translated {done}/{len(texts)} texts", flush=True)

    return answers([flatten(text, "zh") for text in texts], translate, memo, progress)


def answers(
    texts: Sequence[str], translate: Translate, memo: Path, progress: Callable[[int], None] | None = None
) -> list[str]:
    """The answer to each text, from the memo where it has them.

    A chunk is asked and remembered as a whole: in a batch of other texts the last bit of a probability may differ, and
    what the memo held would show in the result.
    """
    known: dict[str, str] = {}
    for chunk in chunks(texts):
        file = memo / f"{hash_text(*chunk)[:32]}.json"
        found = _remembered(file, len(chunk))
        if found is None:
            found = translate(chunk)
            write_json(file, found)
        known |= zip(chunk, found, strict=True)
        if progress:
            progress(len(known))
    return [known[text] for text in texts]


def chunks(texts: Sequence[str]) -> Iterator[list[str]]:
    """Distinct texts by their hashes, cut after hashes of a certain kind: one more text changes one chunk only."""
    chunk: list[str] = []
    for digest, text in sorted((hash_text(text), text) for text in set(texts)):
        chunk.append(text)
        if int(digest[-8:], 16) % CHUNK == 0:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def degenerate(zh: str, en: str) -> str | None:
    """Why an answer is no translation whatever its text: "empty_answer", "copied" or "looping"; None if it may be one."""
    if not en.strip():
        return "empty_answer"
    if has_cjk(en) or match_key(en) == match_key(zh):
        return "copied"
    return "looping" if _loops(en) else None


def _loops(text: str) -> bool:
    if _STUTTER.search(text):
        return True
    words = text.lower().split()
    for size in range(1, _PHRASE + 1):
        same = 0  # words in a row that equal the one `size` before
        for index in range(size, len(words)):
            same = same + 1 if words[index] == words[index - size] else 0
            if same >= size * (_TIMES - 1) + (size == 1) and any(
                map(str.isalpha, "".join(words[index - size + 1 : index + 1]))
            ):
                return True
    return False


def _key(model: Path, base: Path | None, beams: int) -> str:
    """Whatever decides an answer beside its text: weights, decoding, code, libraries."""
    package = Path(__file__).parents[1]
    code = hash_path(*(package / name for name in _CODE))
    libraries = [version(name).partition("+")[0] for name in ("tokenizers", "torch", "transformers")]
    return hash_text(hash_path(model), hash_path(base) if base else "", str(beams), code, *libraries)[:16]


def _remembered(file: Path, count: int) -> list[str] | None:
    if not file.is_file():
        return None
    try:
        found = read_json(file)
    except DoctuneError:  # damaged by a full disk or a person: asked again
        return None
    return found if isinstance(found, list) and len(found) == count and all(isinstance(x, str) for x in found) else None
