"""Stage `card`: the data card of the corpus, and the English that has more than one Chinese rendering.

    python -m tasks.card --pages data/pages.parquet --pairs data/pairs.jsonl --splits data/splits \\
        --crawl reports/crawl.json --align reports/align.json --split reports/split.json \\
        --out reports/card --renderings reports/renderings.jsonl

    pages, pairs, splits + their reports  ->  card/              README.md, card.json, pictures, tables for `dvc plots`
                                              renderings.jsonl   with all places; renderings.md for reading
"""

from pathlib import Path

from doctune.errors import DoctuneError
from doctune.files import iterate_jsonl, read_json, write_jsonl, write_text
from doctune.parquet import read_parquet
from tasks.stage import stage


def main(
    pages: Path, pairs: Path, splits: Path, crawl: Path, align: Path, split: Path, out: Path, renderings: Path
) -> None:
    from doctune import renderings as several
    from doctune.card import Reports, describe, write

    table = renderings.with_suffix(".md")
    if table == renderings:
        raise DoctuneError(f"wanted --renderings to name a .jsonl file, got {renderings}; the table goes beside it")
    reports = Reports(read_json(crawl), read_json(align), read_json(split))
    rows = {name: iterate_jsonl(splits / f"{name}.jsonl") for name in reports.split["rows"]}
    found = several.renderings(iterate_jsonl(pairs))
    facts = describe(read_parquet(pages, ["lang", "path"]), iterate_jsonl(pairs), rows, reports, found)
    write(out, facts)
    write_jsonl(renderings, found)
    write_text(table, several.markdown(found))
    print(
        f"{facts['pairs']['total']:,} pairs ({facts['pairs']['repeats']:.1%} repeats), "
        f"licence {facts['source'].get('licence') or 'not stated'}; "
        f"{len(found):,} English texts with more than one Chinese rendering"
    )


if __name__ == "__main__":
    stage(main)
