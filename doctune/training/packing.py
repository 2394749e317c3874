"""Several examples in one row, for causal models: which ones, and whether a model keeps them apart.

fill([2, 3, 3, 4, 6], 8)            # [[4, 0], [3, 1], [2]]: numbers of the things that share a row of 8
check_packing(loaded)               # refuses a model whose examples would see each other
"""

from collections.abc import Sequence

from doctune.errors import DoctuneError
from doctune.models import Loaded

APART = 1e-3  # of the logits' spread: what may change in an example when its neighbour does
ALIKE = 0.1  # what may differ from the example alone: the rounding of half precision, other positions not


def fill(lengths: Sequence[int], room: int) -> list[list[int]]:
    """Numbers of the things in each row, by best-fit decreasing: the longest first, each where the least room is left.

    At most 11/9 of the fewest rows that there can be (Johnson 1973). A thing longer than `room` has a row of its own.
    """
    rows: list[list[int]] = []
    free: dict[int, list[int]] = {}  # tokens left -> rows with so many
    sizes = 0  # bit n: there is a row with n tokens left
    for number in sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True):
        length = lengths[number]
        fitting = sizes >> length
        if fitting:
            left = length + (fitting & -fitting).bit_length() - 1
            row = free[left].pop()
            if not free[left]:
                sizes &= ~(1 << left)
            rows[row].append(number)
        else:
            left, row = max(room, length), len(rows)
            rows.append([number])
        if left > length:
            free.setdefault(left - length, []).append(row)
            sizes |= 1 << (left - length)
    return rows


def check_packing(loaded: Loaded) -> None:
    """Packs a few tokens with two different neighbours: their logits must stay as they are alone."""
    import torch

    from doctune.prompts import Example
    from doctune.training.data import collate
    from doctune.training.loss import answer_logits

    model = loaded.model
    if loaded.seq2seq:
        raise DoctuneError(
            "train.packing is for causal models, but the base is an encoder-decoder; set train.packing to false"
        )
    ids = [number % len(loaded.tokenizer) for number in range(5, 5 + 7 * 24, 7)]
    example, neighbours = Example(ids[:12], ids[:12], False, False), (ids[12:], ids[:11:-1])
    pad_id = loaded.tokenizer.pad_token_id
    packs = [collate([[Example(other, other, False, False), example]], pad_id) for other in neighbours]
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            alone, first, second = (
                answer_logits(model, {name: value.to(model.device) for name, value in batch.items()})[0].float()[-11:]
                for batch in (collate([example], pad_id), *packs)
            )
    except TypeError as error:
        raise DoctuneError(
            f"train.packing is true, but this base takes no position_ids ({error}); set it to false"
        ) from error
    finally:
        model.train(training)
    spread = alone.std()
    if (first - second).abs().max() > APART * spread or (first - alone).abs().max() > ALIKE * spread:
        raise DoctuneError(
            "train.packing is true, but with this base examples in one row would see each other "
            f"({type(model).__name__} does not keep to position_ids); set it to false"
        )
