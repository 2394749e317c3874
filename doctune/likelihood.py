"""How likely a model finds the reference translations, by teacher forcing: what perplexity is made of.

    measured = nats(translator, [("Pods run.", "Pod 在运行。")])       # [(7.1, 6)]: nats of the answer, its tokens

Each answer token's -ln p given the source and the reference so far, the end of the answer included. Source and answer are
encoded as in training. A pair that is longer than the model's positions is not measured: (0.0, 0).
"""

from collections.abc import Iterator, Sequence
from typing import Any

from doctune.prompts import IGNORED, Example, encode_pair
from doctune.translation import Translator

_LONGEST = 4096  # tokens, where a model names no limit
_LOGITS = 1 << 26  # held at once: 256 MiB in float32


def nats(translator: Translator, pairs: Sequence[tuple[str, str]]) -> list[tuple[float, int]]:
    """(nats, tokens) of each English text's Chinese, in order."""
    import torch

    model, recipe = translator.model, translator.recipe
    length = getattr(model.config, "max_position_embeddings", None) or _LONGEST
    examples = [encode_pair(translator.tokenizer, recipe, en, zh, length) for en, zh in pairs]
    measured = [(0.0, 0)] * len(pairs)
    with torch.inference_mode():
        for batch in _batches(examples, model.config.vocab_size):
            for index, found in zip(batch, _measure(translator, [examples[i] for i in batch]), strict=True):
                measured[index] = found
    return measured


def _measure(translator: Translator, examples: list[Example]) -> list[tuple[float, int]]:
    import torch

    model, pad = translator.model, translator.tokenizer.pad_token_id
    ids = _padded([example.input_ids for example in examples], pad).to(model.device)
    mask = _padded([[1] * len(example.input_ids) for example in examples], 0).to(model.device)
    labels = _padded([example.labels for example in examples], IGNORED).to(model.device)
    if translator.seq2seq:
        before = model.prepare_decoder_input_ids_from_labels(labels=labels)
        logits = model(input_ids=ids, attention_mask=mask, decoder_input_ids=before).logits
    else:
        logits, labels = model(input_ids=ids, attention_mask=mask).logits[:, :-1], labels[:, 1:]
    lost = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1).float(), labels.flatten(), ignore_index=IGNORED, reduction="none"
    ).view(labels.shape)
    return list(zip(lost.sum(dim=1).tolist(), (labels != IGNORED).sum(dim=1).tolist(), strict=True))


def _padded(rows: list[Sequence[int]], fill: int) -> Any:
    import torch

    width = max(map(len, rows))
    return torch.tensor([[*row, *[fill] * (width - len(row))] for row in rows])


def _batches(examples: list[Example], vocabulary: int) -> Iterator[list[int]]:
    """Indices of whole examples, longest answers first, within the logits that are held at once."""
    whole = [index for index, example in enumerate(examples) if not example.truncated]
    order = sorted(whole, key=lambda index: (-len(examples[index].labels), index))
    most = max(1, _LOGITS // vocabulary)  # positions
    while order:
        rows = max(1, most // max(1, len(examples[order[0]].labels)))
        yield order[:rows]
        order = order[rows:]
