"""align: pairs of English and Chinese blocks from the pages that crawl found.

    data/pages.parquet -> data/pairs.jsonl, reports/align.json

    python -m tasks.align --pages data/pages.parquet --pairs data/pairs.jsonl --report reports/align.json

Pages with broken front matter are named on stderr; the report counts all that was dropped, by reason.
"""

from pathlib import Path

from doctune.alignment.corpus import align_pages
from doctune.alignment.params import AlignParams
from doctune.errors import warn
from doctune.files import write_json, write_jsonl
from doctune.machine import cores
from doctune.parquet import read_parquet
from doctune.section import load_section
from tasks.stage import stage

MEMO = Path(".doctune/align.sqlite")  # of pages aligned before, outside the stage's outputs


def main(pages: Path, pairs: Path, report: Path) -> None:
    params = load_section(AlignParams, "align")
    columns = ["lang", "path", "text"]
    rows = (dict(zip(columns, row, strict=True)) for row in read_parquet(pages, columns))
    found, summary = align_pages(rows, params, MEMO, cores())
    for place in summary["broken_front_matter"]:
        warn(
            f"{place['page']}:{place['line']}: broken front matter ({place['problem']}); "
            "the page's body is aligned, its title may be left out"
        )
    write_jsonl(pairs, found)
    write_json(report, summary)
    by_kind = ", ".join(f"{count:,} {kind}" for kind, count in summary["pairs"]["by_kind"].items())
    print(
        f"{len(found):,} pairs ({summary['pairs']['distinct']:,} distinct; {by_kind}) "
        f"from {summary['pages']['with_pairs']:,} pages"
    )
    print(
        f"{sum(summary['dropped'].values()):,} blocks dropped: "
        + ", ".join(f"{n:,} {why}" for why, n in summary["dropped"].items())
    )


if __name__ == "__main__":
    stage(main)
