"""Does the exported model translate as PyTorch does? Decided on test rows, decoded like PyTorch decoded them.

rows = choose(test, 400)                                     # indices, by hash, in the order of the file
parity = compare([pytorch[i] for i in rows], pytorch_trimmed, fp32, int8, references)
check(parity, ExportParams(min_identical=0.99, max_int8_bleu_loss=1.0, parity_rows=400))
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from doctune.errors import DoctuneError
from doctune.files import hash_text
from doctune.onnx.params import ExportParams


class Parity(NamedTuple):
    """`identical`: rows whose fp32 output is PyTorch's. Scores are sacreBLEU's (tokenizer zh), 0 to 100."""

    rows: int
    identical: int
    bleu_torch: float
    bleu_int8: float
    chrf_int8: float

    @property
    def bleu_loss(self) -> float:
        return self.bleu_torch - self.bleu_int8

    @property
    def share(self) -> float:
        return self.identical / self.rows


def choose(test: Sequence[dict[str, Any]], count: int) -> list[int]:
    """Indices, ascending, of the `count` rows whose ids have the smallest hashes (all, where there are fewer)."""
    by_hash = sorted(range(len(test)), key=lambda i: hash_text(str(test[i]["id"])))
    return sorted(by_hash[:count])


def compare(
    torch: Sequence[str], same: Sequence[str], fp32: Sequence[str], int8: Sequence[str], references: Sequence[str]
) -> Parity:
    """Outputs of PyTorch, fp32 and int8 graphs for the same rows, against each other and the (normalised) references.

    `torch` are the trained model's, which scores are compared with; `same` those that fp32 graphs are to give: `torch` again,
    or, where the vocabulary is trimmed, the trimmed model's.
    """
    from doctune.scoring.metrics import BLEU, CHRF, score
    from doctune.text import normalise

    normal_torch, normal_int8 = ([normalise(text) for text in texts] for texts in (torch, int8))
    return Parity(
        rows=len(references),
        identical=sum(one == other for one, other in zip(same, fp32, strict=True)),
        bleu_torch=score(BLEU, BLEU.statistics(normal_torch, references)),
        bleu_int8=score(BLEU, BLEU.statistics(normal_int8, references)),
        chrf_int8=score(CHRF, CHRF.statistics(normal_int8, references)),
    )


def check(parity: Parity, params: ExportParams) -> None:
    """Raise DoctuneError with the numbers unless both limits hold."""
    wrong = []
    if parity.share < params.min_identical:
        wrong.append(
            f"fp32 ONNX gives the same output as PyTorch on {100 * parity.share:.1f} % of {parity.rows} rows, "
            f"wanted at least {100 * params.min_identical:g} %"
        )
    if parity.bleu_loss > params.max_int8_bleu_loss:
        wrong.append(
            f"int8 ONNX loses {parity.bleu_loss:.2f} BLEU ({parity.bleu_torch:.2f} to {parity.bleu_int8:.2f}) on "
            f"{parity.rows} rows, wanted at most {params.max_int8_bleu_loss:g}"
        )
    if wrong:
        raise DoctuneError(f"export: {'; '.join(wrong)}")
