"""Stages `translate_base` and `translate_tuned`: a model's translations of rows, in their order, and how likely it finds the human's.

    python -m tasks.translate --model models/base --test data/splits/test.jsonl --out data/hypotheses/base.jsonl \\
        --general examples/general/pairs.jsonl --general-out data/hypotheses/base.general.jsonl

    a row of each:  {"id": ..., "en": ..., "hyp": "...", "nats": 12.3, "tokens": 9}      of the reference, by teacher forcing
"""

import time
from pathlib import Path
from typing import Any

from doctune.files import read_jsonl, write_jsonl
from doctune.likelihood import nats
from doctune.rows import TRANSLATED_FIELDS, check_rows
from doctune.section import load_section
from doctune.translation import TranslateParams, Translator, load_translator
from doctune.trust import remote_code_allowed
from tasks.stage import stage


def main(
    model: Path,
    test: Path,
    out: Path,
    general: Path,
    general_out: Path,
    base: Path | None = None,  # the base's folder, where the model is an adapter
) -> None:
    asked = {out: read_jsonl(test), general_out: read_jsonl(general)}
    check_rows(asked[out], TRANSLATED_FIELDS, test)
    check_rows(asked[general_out], TRANSLATED_FIELDS, general)  # before a model works for minutes on the test rows
    translator = load_translator(model, base, load_section(TranslateParams, "translate"), remote_code_allowed())
    for to, rows in asked.items():
        write_jsonl(to, _translate(translator, rows))


def _translate(translator: Translator, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    began = time.monotonic()

    def progress(done: int, total: int) -> None:
        print(f"translated {done}/{total} rows, {done / (time.monotonic() - began):.1f} rows/s", flush=True)

    answers = translator.translate([row["en"] for row in rows], progress)
    measured = nats(translator, [(row["en"], row["zh"]) for row in rows])
    return [
        {"id": row["id"], "en": row["en"], "hyp": answer, "nats": round(lost, 4), "tokens": tokens}
        for row, answer, (lost, tokens) in zip(rows, answers, measured, strict=True)
    ]


if __name__ == "__main__":
    stage(main)
