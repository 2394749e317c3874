"""split: pairs into train, valid and test by page, without leakage.

    data/pairs.jsonl, data/since.parquet, data/extra.jsonl -> data/splits/{train,valid,test}.jsonl, reports/split.json

    python -m tasks.split --pairs data/pairs.jsonl --since data/since.parquet --extra data/extra.jsonl \\
        --out data/splits --report reports/split.json

The report counts what was removed and proves that no test source, nor a near duplicate of one, is in train. Extra rows are
train rows to every rule of the split; those that it leaves, and the terms of the glossary pages that are in train, are then
weighed and capped.
"""

from collections import Counter
from pathlib import Path

from doctune.extra.glossary import terms
from doctune.extra.params import ExtraParams
from doctune.files import read_jsonl, whole_dir, write_json, write_jsonl
from doctune.machine import collect_rarely
from doctune.mixing import apart, mix
from doctune.parquet import read_parquet
from doctune.section import load_section
from doctune.splitting import SplitParams
from doctune.splitting import split as split_pairs
from tasks.stage import stage

MEMO = Path(".doctune/words.npz")  # of texts read before, outside the stage's outputs


def main(pairs: Path, since: Path, out: Path, report: Path, extra: Path | None = None) -> None:
    collect_rarely()
    params = load_section(SplitParams, "split")
    columns = ["lang", "path", "text"]
    old = read_parquet(since, columns) if params.test_since else []
    splits, summary = split_pairs(
        [*read_jsonl(pairs), *(read_jsonl(extra) if extra else [])],
        params,
        [dict(zip(columns, row, strict=True)) for row in old],
        MEMO,
    )
    if extra:
        own, others = apart(splits["train"])
        knobs = load_section(ExtraParams, "extra")
        splits["train"], summary["extra"] = mix(own, [*others, *terms(own, knobs)], knobs)
        summary["rows"]["train"] = len(splits["train"])
        summary["rows_by_kind"]["train"] = dict(sorted(Counter(row["kind"] for row in splits["train"]).items()))
    with whole_dir(out) as folder:
        for name, rows in splits.items():
            write_jsonl(folder / f"{name}.jsonl", rows)
    write_json(report, summary)
    print(
        ", ".join(
            f"{name} {count:,} rows of {summary['pages'][name]:,} pages" for name, count in summary["rows"].items()
        )
    )
    print(
        "removed: " + (", ".join(f"{count:,} {why}" for why, count in summary["removed"].items() if count) or "nothing")
    )
    if mixed := summary.get("extra", {}).get("sources"):
        joined = ", ".join(f"{name} {found['seen']:,} rows" for name, found in mixed.items())
        left_out = ", ".join(f"{count:,} {why}" for why, count in summary["extra"]["dropped"].items()) or "nothing"
        print(f"extra, {summary['extra']['share']:.1%} of train: {joined}; left out: {left_out}")
    print(
        "leakage: "
        + "; ".join(
            f"{where} {counts['same_letters']} exact, {counts['near']} near (highest {max(counts['highest'].values())})"
            for where, counts in summary["leakage"].items()
        )
    )


if __name__ == "__main__":
    stage(main)
