"""Systems by name, as people give them on the command line: NAME=FILE.

outputs_of(test, named_files(["base=data/hypotheses/base.jsonl", "lora=lora.jsonl"]))    # {"base": Output([...]), ...}
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from doctune.errors import DoctuneError
from doctune.files import read_jsonl
from doctune.scoring.evaluation import MEMORY, Output, output_of
from doctune.scoring.judged import REFERENCE

# systems that are there anyway, and keys beside which systems stand in metrics.json and changes.jsonl
_KEYS = """id page kind en ref delta
rows new_rows new general gain gain_over_memory gains length_ratio empty skipped signature"""
_TAKEN = frozenset((MEMORY, REFERENCE, *_KEYS.split()))


def named_files(arguments: Sequence[str]) -> dict[str, Path]:
    """The file of each name; raises DoctuneError for what is no NAME=FILE, a name twice, or one that has a meaning."""
    found: dict[str, Path] = {}
    for argument in arguments:
        name, _, file = argument.partition("=")
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}", name) or not file:
            raise DoctuneError(f"wanted NAME=FILE, the name of letters, digits and . _ -, got {argument!r}")
        if name in found:
            raise DoctuneError(f"wanted names that differ, got {name!r} twice")
        if name in _TAKEN:
            raise DoctuneError(
                f"wanted a name that has no meaning of its own here, got {name!r}; call it {name}-1, say"
            )
        found[name] = Path(file)
    return found


def outputs_of(test: Sequence[dict[str, Any]], files: Mapping[str, Path]) -> dict[str, Output]:
    """What each system made of the test rows, by name."""
    return {name: output_of(test, read_jsonl(path), path) for name, path in files.items()}
