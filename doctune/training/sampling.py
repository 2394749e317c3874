"""Which examples make a batch: a budget of tokens among examples of like length, or several examples in one row.

    sampler = BucketSampler(costs, batch_tokens=4096, batch_rows=0, seed=17)
    sampler.set_epoch(2)
    next(iter(sampler))                 # [4711, 12, 815]: numbers of examples

Padding is work thrown away; with lengths rounded up to a multiple of 8 and sorted, a few per cent of a batch is padding
instead of half of it. Batch boundaries are the same in every epoch (so steps can be counted), their members are not.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch.utils.data import Sampler

from doctune.training.packing import fill

ROUND = 8


class Cost(NamedTuple):
    """Padded lengths of an example; a causal model's labels lie on its input and cost nothing more."""

    target: int
    source: int


class BucketSampler(Sampler[list[Any]]):
    """Batches of example indices: like lengths together, at most `batch_tokens` padded tokens and `batch_rows` examples
    (0: any number), in random order.

    Deterministic for (seed, epoch); `__len__` is the same in every epoch, and so is the number of examples in each batch.
    """

    def __init__(self, costs: Sequence[Cost], batch_tokens: int, batch_rows: int, seed: int, shuffle: bool = True):
        self.costs, self.seed, self.shuffle, self.epoch = costs, seed, shuffle, 0
        self.bounds = _bounds(self._ranked(), batch_tokens, batch_rows)

    def _ranked(self) -> list[Cost]:
        """What a batch is made of, in order of length."""
        return sorted(self.costs)

    def __len__(self) -> int:
        return len(self.bounds)

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[list[Any]]:
        if not self.shuffle:
            order, batches = list(range(len(self.costs))), list(range(len(self.bounds)))
        else:
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
            order = torch.randperm(len(self.costs), generator=generator).tolist()
            batches = torch.randperm(len(self.bounds), generator=generator).tolist()
        by_length = sorted(order, key=self.costs.__getitem__)
        for batch in batches:
            yield self._batch(by_length, *self.bounds[batch])

    def _batch(self, by_length: list[int], first: int, last: int) -> list[Any]:
        return by_length[first:last]


class PackedSampler(BucketSampler):
    """Batches of packs: an item is the indices of the examples that lie in one row, at most `packed` tokens long.

    Which lengths share a row is settled once; which examples of these lengths, and the order of batches, each epoch anew.
    """

    def __init__(
        self, lengths: Sequence[int], packed: int, batch_tokens: int, batch_rows: int, seed: int, shuffle: bool = True
    ):
        ranked = sorted(lengths)
        self.packs = sorted(fill(ranked, packed), key=lambda pack: sum(ranked[rank] for rank in pack))
        self._lengths = [sum(ranked[rank] for rank in pack) for pack in self.packs]
        super().__init__([Cost(0, length) for length in lengths], batch_tokens, batch_rows, seed, shuffle)

    def _ranked(self) -> list[Cost]:
        return [Cost(0, round_up(length)) for length in self._lengths]

    def _batch(self, by_length: list[int], first: int, last: int) -> list[Any]:
        return [tuple(by_length[rank] for rank in pack) for pack in self.packs[first:last]]


def _bounds(costs: Sequence[Cost], batch_tokens: int, batch_rows: int) -> list[tuple[int, int]]:
    """Cut a sorted list of costs into runs whose padded size stays within the budget; a single longer example is a batch."""
    bounds: list[tuple[int, int]] = []
    first, source, target = 0, 0, 0
    for index, item in enumerate(costs):
        source, target = max(source, item.source), max(target, item.target)
        rows = index + 1 - first
        if index > first and (rows * (source + target) > batch_tokens or rows > batch_rows > 0):
            bounds.append((first, index))
            first, source, target = index, item.source, item.target
    if costs:
        bounds.append((first, len(costs)))
    return bounds


def round_up(length: int) -> int:
    return -(-length // ROUND) * ROUND
