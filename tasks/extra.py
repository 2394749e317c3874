"""extra: somebody else's parallel data, cleaned like the site's own, for the split stage to mix into train.

    extra/ (and the hub) -> data/extra.jsonl, reports/extra.json

    python -m tasks.extra --out data/extra.jsonl --report reports/extra.json

Without sources, as by default, the file has no row. Answers of back-translation lie outside the stage's outputs (DVC
deletes those before a stage runs), so that a killed run goes on where it was:

    .doctune/backtranslation/3f2a.../77b0....json
"""

from pathlib import Path

from doctune.extra.params import ExtraParams
from doctune.files import write_json, write_jsonl, write_text
from doctune.section import load_section
from tasks.stage import stage

BACK_TRANSLATED = Path(".doctune/backtranslation")


def main(out: Path, report: Path) -> None:
    params = load_section(ExtraParams, "extra")
    if not params.sources:
        write_text(out, "\n")  # no row, but a byte: DVC warns of a file without any whenever it looks at it
        write_json(report, {"rows": 0, "sources": {}})
        print("no extra data: extra.sources is empty")
        return
    from doctune.alignment.params import AlignParams
    from doctune.extra.collect import collect

    rows, summary = collect(params, load_section(AlignParams, "align").limits, BACK_TRANSLATED)
    write_jsonl(out, rows)
    write_json(report, summary)
    for name, facts in summary["sources"].items():
        dropped = ", ".join(f"{count:,} {why}" for why, count in facts["dropped"].items()) or "nothing"
        print(
            f"{name} ({facts['licence']}): kept {facts['kept']:,} of {facts['read']:,} rows, "
            f"{facts['capped']:,} over the cap; dropped: {dropped}"
        )


if __name__ == "__main__":
    stage(main)
