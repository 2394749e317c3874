"""split: pairs into train, valid and test by page, without leakage.

    data/pairs.jsonl, data/since.parquet -> data/splits/{train,valid,test}.jsonl, reports/split.json

    python -m tasks.split --pairs data/pairs.jsonl --since data/since.parquet --out data/splits --report reports/split.json

The report counts what was removed and proves that no test source, nor a near duplicate of one, is in train.
"""

from pathlib import Path

from doctune.files import read_jsonl, read_parquet, whole_dir, write_json, write_jsonl
from doctune.section import load_section
from doctune.splitting import SplitParams
from doctune.splitting import split as split_pairs
from tasks.stage import stage


def main(pairs: Path, since: Path, out: Path, report: Path) -> None:
    params = load_section(SplitParams, "split")
    old = read_parquet(since, ["lang", "path", "text"]) if params.test_since else []
    splits, summary = split_pairs(read_jsonl(pairs), params, old)
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
    print(
        "leakage: "
        + "; ".join(
            f"{where} {counts['same_letters']} exact, {counts['near']} near (highest {max(counts['highest'].values())})"
            for where, counts in summary["leakage"].items()
        )
    )


if __name__ == "__main__":
    stage(main)
