"""Translating texts with a model folder, whether PyTorch or ONNX: markup protected, batches of like length, markup restored.

translator = load_translator(Path("models/tuned"), Path("models/base"))
translator.translate(["Pods are the smallest unit."])       # -> ["Pod 是最小的单元。"]
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from doctune.errors import warn
from doctune.models import Loaded, load_model
from doctune.prompts import TRANSLATE, Recipe, cut, end_id, finish, prepare, prompt_ids
from doctune.section import Section

ANSWER_RATIO, ANSWER_SLACK = 2, 16  # an answer may take 2n + 16 tokens for n source tokens; longer ones are loops


class TranslateParams(Section):
    """The `translate` section. `batch_tokens` bounds padded source tokens of a batch; `max_new_tokens` an answer's."""

    beams: int = Field(ge=1, le=16)
    batch_tokens: int = Field(ge=64)
    max_new_tokens: int = Field(ge=8)


DEFAULTS = TranslateParams(beams=1, batch_tokens=4096, max_new_tokens=256)


@dataclass(frozen=True)
class Translator:
    """`model` has transformers' `generate` (PyTorch, or Optimum's ONNX Runtime classes)."""

    model: Any
    tokenizer: Any
    recipe: Recipe
    seq2seq: bool
    params: TranslateParams = DEFAULTS

    def translate(
        self, texts: Sequence[str], progress: Callable[[int, int], None] | None = None, task: str = TRANSLATE
    ) -> list[str]:
        """Chinese for each English text, in order; `progress(done, total)` is called after each batch.

        With the task `term` a text is a term, and its rendering is asked for (see `doctune.prompts.templates`).
        What is longer than an encoder-decoder's positions is cut there, and so is an answer at `max_new_tokens`: a warning says so.
        """
        sources = [prepare(self.recipe, text) for text in texts]
        prompts = [prompt_ids(self.tokenizer, self.recipe, source.text, task) for source in sources]
        positions = (self.seq2seq and getattr(self.model.config, "max_position_embeddings", None)) or sys.maxsize
        if longer := sum(len(ids) > positions for ids in prompts):
            warn(
                f"{longer} of {len(texts)} texts are longer than the {positions} tokens that this model reads; they are cut there"
            )
            prompts = [cut(ids, positions) for ids in prompts]
        lengths = [
            len(self.tokenizer(source.text, add_special_tokens=False, verbose=False)["input_ids"]) for source in sources
        ]
        answers, done, unfinished = [""] * len(texts), 0, 0
        most = min(self.params.max_new_tokens, positions - 1)
        for batch in _batches(prompts, self.params.batch_tokens):
            loops = [ANSWER_RATIO * lengths[i] + ANSWER_SLACK for i in batch]
            generated = self._generate([prompts[i] for i in batch], min(most, max(loops)))
            for index, ids, loop in zip(batch, generated, loops, strict=True):
                unfinished += len(ids) == most < loop
                text = self.tokenizer.decode(ids[: min(most, loop)], skip_special_tokens=True)
                answers[index] = finish(self.recipe, sources[index], text)
            done += len(batch)
            if progress:
                progress(done, len(texts))
        if unfinished:
            warn(
                f"{unfinished} of {len(texts)} translations are cut at {most} tokens (translate.max_new_tokens, or what the model "
                "can write); raise it, or give the texts in parts"
            )
        return answers

    def _generate(self, prompts: list[list[int]], limit: int) -> list[list[int]]:
        """Token ids of the answers, without prompt, decoder start, end and padding."""
        import torch

        width, pad, end = max(map(len, prompts)), self.tokenizer.pad_token_id, end_id(self.tokenizer, self.recipe)
        blanks = [width - len(ids) for ids in prompts]
        if self.seq2seq:
            rows = [ids + [pad] * blank for ids, blank in zip(prompts, blanks, strict=True)]
            mask = [[1] * (width - blank) + [0] * blank for blank in blanks]
        else:  # a causal model goes on writing at the right edge
            rows = [[pad] * blank + ids for ids, blank in zip(prompts, blanks, strict=True)]
            mask = [[0] * blank + [1] * (width - blank) for blank in blanks]
        device = self.model.device
        with torch.inference_mode():
            output = self.model.generate(
                input_ids=torch.tensor(rows, device=device),
                attention_mask=torch.tensor(mask, device=device),
                max_new_tokens=limit,
                num_beams=self.params.beams,
                do_sample=False,
                eos_token_id=end,
                pad_token_id=pad,
            )
        first = 1 if self.seq2seq else width
        return [_until(row[first:], end) for row in output.tolist()]


def load_translator(
    folder: Path, base: Path | None = None, params: TranslateParams = DEFAULTS, remote_code: bool = False
) -> Translator:
    """Open a PyTorch model folder (or an adapter with its base) for translation on the GPU where there is one."""
    import torch

    loaded = load_model(folder, base, remote_code)
    loaded.model.eval().to("cuda" if torch.cuda.is_available() else "cpu")
    return make_translator(loaded, params)


def make_translator(loaded: Loaded, params: TranslateParams = DEFAULTS) -> Translator:
    return Translator(loaded.model, loaded.tokenizer, loaded.recipe, loaded.seq2seq, params)


def _batches(prompts: list[list[int]], budget: int) -> Iterator[list[int]]:
    """Indices, longest first (a batch that does not fit in memory fails at once), within `budget` padded tokens."""
    order = sorted(range(len(prompts)), key=lambda i: (-len(prompts[i]), i))
    batch: list[int] = []
    for index in order:
        if batch and (len(batch) + 1) * len(prompts[batch[0]]) > budget:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _until(ids: list[int], end: int) -> list[int]:
    return ids[: ids.index(end)] if end in ids else ids
