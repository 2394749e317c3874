"""Sources of pages: a documentation site in git, on the web or in a local folder, read into one row per page.

    params = load_section(CrawlParams, "crawl")
    pages, report = read_pages(params, locked(params, Path("source.lock.yaml")))

`update` moves the lock to where the source's branch or tag, or the web site, stands now.
"""

from pathlib import Path
from typing import Any

from doctune.errors import DoctuneError
from doctune.sources.lock import Entry, GitEntry, TreeEntry, WebEntry, locked, resolve, update
from doctune.sources.pages import Page, decode, load_pages, summary, write_pages
from doctune.sources.params import CrawlParams

__all__ = [
    "CrawlParams",
    "Entry",
    "GitEntry",
    "Page",
    "TreeEntry",
    "WebEntry",
    "load_pages",
    "locked",
    "read_pages",
    "read_since",
    "resolve",
    "update",
    "write_pages",
]


def read_pages(params: CrawlParams, entry: Entry) -> tuple[list[Page], dict[str, Any]]:
    """Read every page of the source, sorted by language and path, and a report of what was read and skipped.

    The report depends on params, lock and content only, not on what a memo already held. Raises DoctuneError when the
    source cannot be read, lacks a content folder, holds a page that is not UTF-8, has no page in both languages, or is a
    web site that has moved on from its lock.
    """
    about: dict[str, Any]
    if isinstance(entry, GitEntry):
        from doctune.sources.git import read_git

        where = f"{entry.url} at {entry.ref}"
        about = {"source": "git", "name": params.name, "url": entry.url, "ref": entry.ref}
        found = read_git(entry.url, entry.commit, entry.ref, params.dirs)
    elif isinstance(entry, WebEntry):
        from doctune.sources.web import read_web

        where = entry.web
        found, noted = read_web(params, entry.revision)
        about = {"source": "web", "name": params.name, "web": entry.web, **noted}
    else:
        from doctune.sources.tree import read_tree

        where = entry.tree
        about = {"source": "tree", "name": params.name, "tree": entry.tree}
        found = read_tree(Path(entry.tree), params.dirs)
    pages = decode(found, where)
    report = about | summary(pages, found)
    if not report["pages_on_both_sides"]:
        counts = report["pages"]
        raise DoctuneError(
            f"wanted pages that exist in both languages, got none in {where}: {counts['en']} in {params.source_dir}, "
            f"{counts['zh']} in {params.target_dir}; check crawl.source_dir and crawl.target_dir"
        )
    return pages, report


def read_since(params: CrawlParams, entry: Entry) -> tuple[list[Page], dict[str, Any] | None]:
    """The pages at the older revision of the lock, sorted, with counts; no pages and None where none is asked for."""
    if not isinstance(entry, GitEntry) or not entry.since:
        return [], None
    from doctune.sources.git import read_git

    found = read_git(entry.url, entry.since_commit, entry.since, params.dirs)
    pages = decode(found, f"{entry.url} at {entry.since}")
    return pages, {"ref": entry.since} | summary(pages, found)
