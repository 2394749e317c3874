"""Crawl: read the site's pages at the locked revision.

    python -m tasks.crawl --lock source.lock.yaml --pages data/pages.parquet --report reports/crawl.json

source (git at the commit in the lock, a web site's snapshot in the lock, or a local tree)
    -> pages.parquet  one row a page: lang, path, revision, text
    -> crawl.json     pages per language and on both sides, what was skipped and why
"""

from pathlib import Path

from doctune.files import write_json
from doctune.section import load_section
from doctune.sources import CrawlParams, locked, read_pages, write_pages
from tasks.stage import stage


def main(lock: Path, pages: Path, report: Path) -> None:
    params = load_section(CrawlParams, "crawl")
    rows, counts = read_pages(params, locked(params, lock))
    write_pages(pages, rows)
    write_json(report, counts)
    number, both = counts["pages"], counts["pages_on_both_sides"]
    skipped = sum(sum(reasons.values()) for reasons in counts["skipped"].values())
    print(
        f"{number['en']} English and {number['zh']} Chinese pages, {both} on both sides; {skipped} other files skipped"
    )


if __name__ == "__main__":
    stage(main)
