"""Stages `translate_base` and `translate_tuned`: a model's translations of the test rows, in their order.

python -m tasks.translate --model models/base --test data/splits/test.jsonl --out data/hypotheses/base.jsonl
"""

import time
from pathlib import Path

from doctune.files import read_jsonl, write_jsonl
from doctune.section import load_section
from doctune.translation import TranslateParams, load_translator
from doctune.trust import remote_code_allowed
from tasks.stage import stage


def main(
    model: Path,
    test: Path,
    out: Path,
    base: Path | None = None,  # the base's folder, where the model is an adapter
) -> None:
    rows = read_jsonl(test)
    translator = load_translator(model, base, load_section(TranslateParams, "translate"), remote_code_allowed())
    began = time.monotonic()

    def progress(done: int, total: int) -> None:
        print(f"translated {done}/{total} rows, {done / (time.monotonic() - began):.1f} rows/s", flush=True)

    answers = translator.translate([row["en"] for row in rows], progress)
    pairs = zip(rows, answers, strict=True)
    write_jsonl(out, ({"id": row["id"], "en": row["en"], "hyp": answer} for row, answer in pairs))


if __name__ == "__main__":
    stage(main)
