"""What a translation has that the reference lacks, and the other way round, in pieces that read well.

    pieces("将 Pod 删除。", "删除 Pod。")
    # [Piece("missing", "删除"), Piece("extra", "将"), Piece("same", " Pod"), Piece("extra", " 删除"), Piece("same", "。")]

Chinese is compared character by character. A Latin word, a number or a name with dots, dashes and slashes is one unit:
"kubectl" against "kubelet" is another word, not four letters that happen to agree.
"""

import re
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

_UNITS = re.compile(r"[A-Za-z0-9]+(?:[._/-][A-Za-z0-9]+)*|.", re.S)

Kind = Literal["same", "extra", "missing"]


@dataclass(frozen=True)
class Piece:
    kind: Kind  # extra: only the hypothesis has it; missing: only the reference
    text: str


def pieces(hypothesis: str, reference: str) -> list[Piece]:
    """The shortest way from reference to hypothesis; "same" and "extra" together are the hypothesis."""
    from rapidfuzz.distance import Indel

    have, want = _UNITS.findall(hypothesis), _UNITS.findall(reference)
    found: list[Piece] = []
    for operation in Indel.opcodes(want, have):
        match operation.tag:
            case "equal":
                found.append(Piece("same", "".join(have[operation.dest_start : operation.dest_end])))
            case "insert":
                found.append(Piece("extra", "".join(have[operation.dest_start : operation.dest_end])))
            case "delete":
                found.append(Piece("missing", "".join(want[operation.src_start : operation.src_end])))
    return [Piece(kind, "".join(piece.text for piece in run)) for kind, run in groupby(found, lambda piece: piece.kind)]
