"""Pages of a web site without a public repository, read politely and kept, so that a crawl can be repeated exactly.

    revision = crawl_site(params)                   # doctune source update: asks the site, writes the memo
    found, about = read_web(params, revision)       # the crawl stage: that snapshot from the memo, no network

The revision is a hash over language, path and text of every page, and over what was left out and why; it is what
source.lock.yaml holds. Where the memo has no such snapshot (on another machine, say) the site is crawled again, and
must still be what it was. Text is data of the snapshot: newer code of doctune acts on it from the next update on.

The memo is `.doctune/web/<hash of the address>`, for one process at a time.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from doctune.errors import DoctuneError
from doctune.files import hash_text
from doctune.locks import hold
from doctune.sources.pages import Found
from doctune.sources.params import CrawlParams
from doctune.sources.progress import say
from doctune.sources.web.client import Client
from doctune.sources.web.crawl import knobs, take_snapshot
from doctune.sources.web.memo import Memo, Snapshot

MEMOS = Path(".doctune/web")
LOCK_SECONDS = 3600
_ADVICE = "run `doctune source update`"


def crawl_site(params: CrawlParams) -> str:
    """Crawl the site as it stands now into the memo; returns the revision of what it found."""
    with _only_user(params.url) as memo:
        return _crawl(params, memo).revision


def read_web(params: CrawlParams, revision: str) -> tuple[Found, dict[str, Any]]:
    """The pages of that revision, and what the report says besides.

    Raises DoctuneError when it was crawled with other knobs, or is not in the memo and the site has moved on.
    """
    with _only_user(params.url) as memo:
        snapshot = memo.snapshot(revision)
        if snapshot is None:
            say(f"{memo.root} has no snapshot {revision[:12]} of {params.url}: crawling the site")
            snapshot = _crawl(params, memo)
            if snapshot.revision != revision:
                raise DoctuneError(
                    f"wanted {params.url} as it was at revision {revision[:12]}, got {snapshot.revision[:12]}: the site, "
                    f"the knobs of crawl or doctune have changed since; {_ADVICE}"
                )
        if changed := [name for name, value in knobs(params).items() if snapshot.knobs.get(name) != value]:
            raise DoctuneError(
                f"wanted a snapshot of {params.url} crawled with these knobs, got one with another "
                f"{' and '.join(changed)}; {_ADVICE}"
            )
        found = Found(revision, skipped=list(snapshot.skipped))
        for lang, path, digest in snapshot.pages:
            text = memo.text(digest)
            assert text is not None, "a snapshot that is given has its texts"
            found.raw[lang, path] = text.encode("utf-8")
        return found, {"bad_sitemaps": [{"url": url, "problem": problem} for url, problem in snapshot.bad_sitemaps]}


def _crawl(params: CrawlParams, memo: Memo) -> Snapshot:
    with Client(params.web.rate) as client:
        return take_snapshot(params, memo, client)


@contextmanager
def _only_user(url: str) -> Iterator[Memo]:
    root = MEMOS.resolve() / hash_text(url)[:16]
    with hold(root.with_name(root.name + ".lock"), f"to crawl {url}", wait=LOCK_SECONDS, say=say):
        yield Memo(root)
