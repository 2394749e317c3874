"""Training examples, and the tensors that a batch of them becomes.

data = EncodedPairs(tokenizer, recipe, rows, 256, Path(".doctune/tokens"))
loader = make_loader(data, Batching(tokens=4096, rows=0, packed=0), Collator(pad_id=0, seq2seq=True), 17, shuffle=True)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from doctune.errors import DoctuneError
from doctune.prompts import IGNORED, Example, Recipe
from doctune.training.params import TrainParams
from doctune.training.sampling import BucketSampler, Cost, PackedSampler, round_up
from doctune.training.tokens import PairEncoder, tokenised

Batch = dict[str, torch.Tensor]


class Cut(NamedTuple):
    """How many of some rows were cut at the longest length: their sources, their answers, and rows without any answer left."""

    rows: int
    sources: int
    answers: int
    either: int
    answerless: int

    @property
    def share(self) -> float:
        return self.either / self.rows if self.rows else 0.0


class EncodedPairs(Dataset[Example]):
    """Examples of rows, from tokens kept in `folder`. A row whose source leaves no room for an answer is left out: it
    teaches nothing, and a batch of such rows has no loss. `starts` are the rows' first placeholder numbers."""

    def __init__(
        self,
        tokenizer: Any,
        recipe: Recipe,
        rows: Sequence[dict[str, Any]],
        max_length: int,
        folder: Path,
        starts: Sequence[int] | None = None,
    ):
        if starts is not None:
            rows = [{**row, "start": start} for row, start in zip(rows, starts, strict=True)]
        self._table = tokenised(PairEncoder(tokenizer, recipe, max_length), rows, folder)
        answers, sources_cut, answers_cut = (
            self._table.data.column(name).to_numpy() for name in ("answer_tokens", "source_cut", "answer_cut")
        )
        self._kept = np.flatnonzero(answers)
        self._answer_tokens = int(answers.sum())
        self.cut = Cut(
            len(rows),
            int(sources_cut.sum()),
            int(answers_cut.sum()),
            int((sources_cut | answers_cut).sum()),
            len(rows) - len(self._kept),
        )
        if len(rows) and not len(self._kept):
            raise DoctuneError(
                f"train.max_length is {max_length}, which leaves no room for an answer in any of {len(rows)} rows; raise it"
            )

    def __len__(self) -> int:
        return len(self._kept)

    def __getitem__(self, index: int) -> Example:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Example]:
        """A batch's examples at once, as the DataLoader asks for them: one look-up instead of many."""
        table = self._table[self._kept[np.asarray(indices, dtype=np.int64)]]
        columns = [table[name] for name in ("input_ids", "labels", "source_cut", "answer_cut")]
        tokens = [_lists(column) for column in columns[:2]]
        return [Example(*row) for row in zip(*tokens, *(column.to_pylist() for column in columns[2:]), strict=True)]

    def lengths(self, name: str = "input_ids") -> list[int]:
        """Tokens of each example: of its input, or of its `labels`."""
        import pyarrow.compute as pc

        return pc.list_value_length(self._table.data.column(name)).to_numpy()[self._kept].tolist()

    def target_tokens(self) -> int:
        """Tokens that the loss sees in one epoch."""
        return self._answer_tokens


def _lists(column: Any) -> list[Any]:
    """The lists of an Arrow column as arrays that share its memory."""
    lists = column.combine_chunks()
    values, offsets = lists.values.to_numpy(), lists.offsets.to_numpy()
    return [values[first:last] for first, last in pairwise(offsets)]


def costs(data: EncodedPairs, seq2seq: bool) -> list[Cost]:
    targets = data.lengths("labels") if seq2seq else [0] * len(data)
    return [Cost(*map(round_up, pair)) for pair in zip(targets, data.lengths(), strict=True)]


class Packs(Dataset[list[Example]]):
    """Examples by packs of indices, as PackedSampler names them."""

    def __init__(self, examples: EncodedPairs):
        self.examples = examples

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, pack: Sequence[int]) -> list[Example]:
        return self.examples.__getitems__(pack)

    def __getitems__(self, packs: Sequence[Sequence[int]]) -> list[list[Example]]:
        found = iter(self.examples.__getitems__([index for pack in packs for index in pack]))
        return [[next(found) for _ in pack] for pack in packs]


def collate(examples: Sequence[Example], pad_id: int) -> Batch:
    """input_ids, attention_mask and labels, each (batch, longest rounded up to 8), padded on the right."""
    ids = _padded([e.input_ids for e in examples], pad_id)
    lengths = torch.tensor([len(e.input_ids) for e in examples])
    return {
        "input_ids": ids,
        "attention_mask": (torch.arange(ids.shape[1]) < lengths[:, None]).long(),
        "labels": _padded([e.labels for e in examples], IGNORED),
    }


def collate_packs(packs: Sequence[Sequence[Example]], pad_id: int) -> Batch:
    """input_ids, position_ids and labels, each (packs, longest rounded up to 8).

    Positions begin anew at each example, and at the padding: that, with no attention_mask beside it, is how transformers
    is told to let tokens attend within their own example only. An example's first token is nobody's next one.
    """
    ids = _padded([np.concatenate([e.input_ids for e in pack]) for pack in packs], pad_id)
    labels = _padded([np.concatenate([e.labels for e in pack]) for pack in packs], IGNORED)
    positions = torch.empty_like(ids)
    for row, pack in enumerate(packs):
        first = 0
        for example in pack:
            last = first + len(example.input_ids)
            positions[row, first:last] = torch.arange(last - first)
            labels[row, first] = IGNORED
            first = last
        positions[row, first:] = torch.arange(ids.shape[1] - first)
    return {"input_ids": ids, "position_ids": positions, "labels": labels}


def _padded(rows: Sequence[Any], fill_id: int) -> torch.Tensor:
    padded = np.full((len(rows), round_up(max(map(len, rows)))), fill_id, dtype=np.int64)
    for number, row in enumerate(rows):
        padded[number, : len(row)] = row
    return torch.from_numpy(padded)


@dataclass
class Collator:
    """Makes batches, and counts here, where nothing waits for an accelerator, how much of them is padding."""

    pad_id: int
    seq2seq: bool
    real: int = 0
    padded: int = 0

    def __call__(self, items: Sequence[Any]) -> Batch:
        packed = not isinstance(items[0], Example)
        batch = collate_packs(items, self.pad_id) if packed else collate(items, self.pad_id)
        for example in (example for pack in items for example in pack) if packed else items:
            self.real += len(example.input_ids) + (len(example.labels) if self.seq2seq else 0)
        self.padded += batch["input_ids"].numel() + (batch["labels"].numel() if self.seq2seq else 0)
        return batch

    def padding_share(self) -> float:
        """Share of the tokens batched since the last call that is padding."""
        share = 1 - self.real / self.padded if self.padded else 0.0
        self.real = self.padded = 0
        return share


class Batching(NamedTuple):
    """Most padded `tokens` and `rows` (0: any number) of a batch; `packed`: most tokens of a row of several examples, 0
    for an example a row."""

    tokens: int
    rows: int
    packed: int

    @classmethod
    def of(cls, params: TrainParams) -> "Batching":
        packed = min(params.max_length, params.batch_tokens) if params.packing else 0
        return cls(params.batch_tokens, params.batch_rows, packed)


def make_loader(
    data: EncodedPairs,
    batching: Batching,
    collator: Collator,
    seed: int,
    shuffle: bool,
    processes: int = 1,
    accumulation: int = 1,
) -> DataLoader[Any]:
    limits = batching.tokens, batching.rows, seed, shuffle, processes, accumulation
    if batching.packed:
        packer = PackedSampler(data.lengths(), batching.packed, *limits)
        return DataLoader(Packs(data), batch_sampler=packer, collate_fn=collator)
    return DataLoader(data, batch_sampler=BucketSampler(costs(data, collator.seq2seq), *limits), collate_fn=collator)
