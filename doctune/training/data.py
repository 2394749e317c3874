"""Training examples, and the tensors that a batch of them becomes.

data = EncodedPairs(tokenizer, recipe, rows, 256, Path(".doctune/tokens"))
sampler = make_sampler(data, Batching(tokens=4096, rows=0, packed=0), seq2seq=True, seed=17, shuffle=True)
DataLoader(data, batch_sampler=sampler, collate_fn=lambda items: collate(items, pad_id))
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset

from doctune.errors import DoctuneError
from doctune.prompts import IGNORED, Example, Recipe
from doctune.training.params import TrainParams
from doctune.training.sampling import BucketSampler, Cost, PackedSampler, round_up
from doctune.training.tokens import PairEncoder, tokenised


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


class Examples(Dataset[Example]):
    """Examples of a table as doctune.training.tokens makes it. One whose source left no room for an answer is left out: it
    teaches nothing, and a batch of such examples has no loss."""

    def __init__(self, table: Any):
        self._table = table
        answers, sources_cut, answers_cut = (
            table.data.column(name).to_numpy() for name in ("answer_tokens", "source_cut", "answer_cut")
        )
        self._kept = np.flatnonzero(answers)
        self._answer_tokens = int(answers.sum())
        self.cut = Cut(
            len(table),
            int(sources_cut.sum()),
            int(answers_cut.sum()),
            int((sources_cut | answers_cut).sum()),
            len(table) - len(self._kept),
        )

    def __len__(self) -> int:
        return len(self._kept)

    def __getitem__(self, index: int) -> Example:
        return self._at([index])[0]

    def __getitems__(self, batch: Sequence[Any]) -> list[Any]:
        """A batch at once, as the DataLoader asks for it: one look-up instead of many. Packs come back as lists of examples."""
        if not batch or not isinstance(batch[0], tuple):
            return self._at(batch)
        found = iter(self._at([index for pack in batch for index in pack]))
        return [[next(found) for _ in pack] for pack in batch]

    def _at(self, indices: Sequence[int]) -> list[Example]:
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


class EncodedPairs(Examples):
    """Examples of rows with `en` and `zh`, from tokens kept in `folder`; `starts` are their first placeholder numbers."""

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
        super().__init__(tokenised(PairEncoder(tokenizer, recipe, max_length), rows, folder))
        if rows and not len(self):
            raise DoctuneError(
                f"train.max_length is {max_length}, which leaves no room for an answer in any of {len(rows)} rows; raise it"
            )


def _lists(column: Any) -> list[Any]:
    """The lists of an Arrow column as arrays that share its memory."""
    lists = column.combine_chunks()
    values, offsets = lists.values.to_numpy(), lists.offsets.to_numpy()
    return [values[first:last] for first, last in pairwise(offsets)]


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


def make_sampler(data: Examples, batching: Batching, seq2seq: bool, seed: int, shuffle: bool) -> BucketSampler:
    if batching.packed:
        return PackedSampler(data.lengths(), batching.packed, batching.tokens, batching.rows, seed, shuffle)
    return BucketSampler(costs(data, seq2seq), batching.tokens, batching.rows, seed, shuffle)


def costs(data: Examples, seq2seq: bool) -> list[Cost]:
    targets = data.lengths("labels") if seq2seq else [0] * len(data)
    return [Cost(*map(round_up, pair)) for pair in zip(targets, data.lengths(), strict=True)]


def collate(items: Sequence[Any], pad_id: int) -> dict[str, torch.Tensor]:
    """A batch's tensors, each (rows, longest rounded up to 8), padded on the right; items are examples, or packs of them.

    Of examples: input_ids, attention_mask and labels.
    """
    if not isinstance(items[0], Example):
        return _collate_packs(items, pad_id)
    ids = _padded([e.input_ids for e in items], pad_id)
    lengths = torch.tensor([len(e.input_ids) for e in items])
    return {
        "input_ids": ids,
        "attention_mask": (torch.arange(ids.shape[1]) < lengths[:, None]).long(),
        "labels": _padded([e.labels for e in items], IGNORED),
    }


def _collate_packs(packs: Sequence[Sequence[Example]], pad_id: int) -> dict[str, torch.Tensor]:
    """input_ids, position_ids and labels.

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
