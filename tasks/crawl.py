"""Crawl: read the site's pages at the locked revision.

    python -m tasks.crawl --lock source.lock.yaml --pages data/pages.parquet --since data/since.parquet
                          --report reports/crawl.json

source (git at the commit in the lock, a web site's snapshot in the lock, or a local tree)
    -> pages.parquet  one row a page: lang, path, revision, text
    -> since.parquet  the same at the older revision crawl.since; no rows where none is asked for
    -> crawl.json     pages per language and on both sides, what was skipped and why, licence
"""

from pathlib import Path

from doctune.files import write_json
from doctune.section import load_section
from doctune.sources import CrawlParams, locked, read_pages, read_since, write_pages
from tasks.stage import stage


def main(lock: Path, pages: Path, since: Path, report: Path) -> None:
    params = load_section(CrawlParams, "crawl")
    entry = locked(params, lock)
    rows, counts = read_pages(params, entry)
    older, older_counts = read_since(params, entry)
    write_pages(pages, rows)
    write_pages(since, older)
    counts |= {"licence": params.licence, "attribution": params.attribution}
    write_json(report, counts if older_counts is None else counts | {"since": older_counts})
    number, both = counts["pages"], counts["pages_on_both_sides"]
    skipped = sum(sum(reasons.values()) for reasons in counts["skipped"].values())
    print(
        f"{number['en']} English and {number['zh']} Chinese pages, {both} on both sides; {skipped} other files skipped"
    )
    if older_counts is not None:
        print(f"{len(older)} pages at {params.since}, to compare with")


if __name__ == "__main__":
    stage(main)
