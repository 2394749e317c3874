"""Training examples: tokenised once, batched by a budget of tokens among examples of like length.

Padding is work thrown away; with lengths rounded up to a multiple of 8 and sorted, a few per cent of a batch is padding
instead of half of it. Batch boundaries are the same in every epoch (so steps can be counted), their members are not.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch.utils.data import Dataset, Sampler

from doctune.prompts import IGNORED, Example, Recipe, encode_pair

ROUND = 8


class EncodedPairs(Dataset[Example]):
    """Examples of some rows; `truncated` counts those that were cut at `max_length` tokens."""

    def __init__(
        self,
        tokenizer: Any,
        recipe: Recipe,
        rows: list[dict[str, Any]],
        max_length: int,
        starts: list[int] | None = None,
    ):
        numbers = starts or [1] * len(rows)
        self.examples = [
            encode_pair(tokenizer, recipe, row["en"], row["zh"], max_length, start)
            for row, start in zip(rows, numbers, strict=True)
        ]
        self.truncated = sum(example.truncated for example in self.examples)

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> Example:
        return self.examples[index]

    def target_tokens(self) -> int:
        """Tokens that the loss sees in one epoch."""
        return sum(label != IGNORED for example in self.examples for label in example.labels)


class Cost(NamedTuple):
    """Padded lengths of an example; a causal model's labels lie on its input and cost nothing more."""

    target: int
    source: int


def cost(example: Example, seq2seq: bool) -> Cost:
    return Cost(_round_up(len(example.labels)) if seq2seq else 0, _round_up(len(example.input_ids)))


class BucketSampler(Sampler[list[int]]):
    """Batches of example indices: like lengths together, at most `batch_tokens` padded tokens, in random order.

    Deterministic for (seed, epoch); `__len__` is the same in every epoch.
    """

    def __init__(self, costs: list[Cost], batch_tokens: int, seed: int, shuffle: bool = True):
        self.costs, self.seed, self.shuffle, self.epoch = costs, seed, shuffle, 0
        self.bounds = _bounds(sorted(costs), batch_tokens)

    def __len__(self) -> int:
        return len(self.bounds)

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[list[int]]:
        if not self.shuffle:
            order, batches = list(range(len(self.costs))), list(range(len(self.bounds)))
        else:
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
            order = torch.randperm(len(self.costs), generator=generator).tolist()
            batches = torch.randperm(len(self.bounds), generator=generator).tolist()
        by_length = sorted(order, key=self.costs.__getitem__)
        for batch in batches:
            first, last = self.bounds[batch]
            yield by_length[first:last]


def collate(examples: list[Example], pad_id: int) -> dict[str, torch.Tensor]:
    """input_ids, attention_mask and labels, each (batch, longest rounded up to 8), padded on the right."""
    width = max(_round_up(len(e.input_ids)) for e in examples)
    label_width = max(_round_up(len(e.labels)) for e in examples)
    return {
        "input_ids": torch.tensor([e.input_ids + [pad_id] * (width - len(e.input_ids)) for e in examples]),
        "attention_mask": torch.tensor([[1] * len(e.input_ids) + [0] * (width - len(e.input_ids)) for e in examples]),
        "labels": torch.tensor([e.labels + [IGNORED] * (label_width - len(e.labels)) for e in examples]),
    }


def _bounds(costs: list[Cost], batch_tokens: int) -> list[tuple[int, int]]:
    """Cut a sorted list of costs into runs whose padded size stays within the budget; a single longer example is a batch."""
    bounds: list[tuple[int, int]] = []
    first, source, target = 0, 0, 0
    for index, item in enumerate(costs):
        source, target = max(source, item.source), max(target, item.target)
        if index > first and (index + 1 - first) * (source + target) > batch_tokens:
            bounds.append((first, index))
            first, source, target = index, item.source, item.target
    if costs:
        bounds.append((first, len(costs)))
    return bounds


def _round_up(length: int) -> int:
    return -(-length // ROUND) * ROUND
