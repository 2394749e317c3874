"""What a crawl keeps outside the stage's outs: answers, what was made of them, and whole snapshots of the site.

    memo = Memo(Path(".doctune/web/1f6f0c..."))
    memo.begin()                         # the crawl that was cut short and is continued, or a new one
    memo.keep(answer); memo.answer(url)  # what the server said last
    memo.fresh(url)                      # whether this crawl has it already
    memo.end()
    memo.snapshot(revision)              # language, path and text of every page, exactly, or None

    answers/<address>     a line of JSON (status, ETag, ...), then the body
    extracts/<address>    what was made of the answer: links, language, the text's hash; good for one body and code
    texts/<hash>          Markdown of a page, by its content: an old snapshot keeps its texts
    snapshots/<revision>  the pages of the site (language, path, text's hash), and what was left out and why

Every file is gzipped, so it has a checksum, and written whole; one that is damaged counts as absent, and is made anew.
Deleting all of it changes only time, unless the site has moved on since the lock was written.
"""

import gzip
import hashlib
import json
import os
import time
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from doctune.files import hash_text, whole_file
from doctune.sources.web.client import Answer

RESUME_SECONDS = 6 * 3600  # an older crawl that was cut short is not continued
_LEVEL = 6  # of gzip: a page takes milliseconds
Plain = dict[str, Any]


@dataclass(frozen=True)
class Snapshot:
    """A site at one time. pages: language, path, text's hash; skipped: language, path, reason. Both sorted."""

    knobs: Plain
    pages: list[tuple[str, str, str]]
    skipped: list[tuple[str, str, str]]
    bad_sitemaps: list[tuple[str, str]]

    @property
    def revision(self) -> str:
        """SHA-256 (hex) over all of it, so over all that the crawl stage writes."""
        return hashlib.sha256(json.dumps(asdict(self), ensure_ascii=False, sort_keys=True).encode("utf-8")).hexdigest()


class Memo:
    """The memo of one site, in a folder that only one process uses at a time."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._crawl = ""

    def begin(self) -> bool:
        """Continue the crawl that was cut short, if that was not long ago, or begin a new one; True if continued."""
        last = _load(self._running) or {}
        if isinstance(last.get("crawl"), str) and time.time() - self._running.stat().st_mtime < RESUME_SECONDS:
            self._crawl = last["crawl"]
            return True
        self._crawl = f"{time.time_ns():x}-{os.getpid():x}"
        _save(self._running, {"crawl": self._crawl})
        return False

    def end(self) -> None:
        self._running.unlink(missing_ok=True)

    def answer(self, url: str) -> Answer | None:
        """What the server said last about `url`, in this crawl or an earlier one."""
        read = self._read(url)
        return read[0] if read else None

    def fresh(self, url: str) -> Answer | None:
        """What the server said in this crawl."""
        read = self._read(url)
        return read[0] if read and read[1] == self._crawl else None

    def keep(self, answer: Answer) -> None:
        head = {name: value for name, value in vars(answer).items() if name != "body"} | {"crawl": self._crawl}
        _write(self._place("answers", answer.url), json.dumps(head).encode("utf-8") + b"\n" + answer.body)
        self._running.touch()  # so its age is how long the crawl has stood still

    def extract(self, url: str, key: str) -> Plain | None:
        """What was made of the answer; `key` stands for its body, the code and the knobs."""
        found = _load(self._place("extracts", url))
        return (
            found["extract"] if found and found.get("key") == key and isinstance(found.get("extract"), dict) else None
        )

    def keep_extract(self, url: str, key: str, extract: Plain) -> None:
        _save(self._place("extracts", url), {"key": key, "extract": extract})

    def text(self, digest: str) -> str | None:
        try:
            text = gzip.decompress(self._text(digest).read_bytes()).decode("utf-8")
        except (OSError, EOFError, zlib.error, UnicodeDecodeError):
            return None
        return text if _sha256(text) == digest else None

    def keep_text(self, text: str) -> str:
        digest = _sha256(text)
        if self.text(digest) is None:
            _write(self._text(digest), text.encode("utf-8"))
        return digest

    def snapshot(self, revision: str) -> Snapshot | None:
        """The snapshot of that revision, or None when it, or a text of it, is not here whole."""
        found = _load(self.root / "snapshots" / f"{revision}.json.gz") or {}
        try:
            snapshot = Snapshot(
                found["knobs"],
                *([tuple(row) for row in found[name]] for name in ("pages", "skipped", "bad_sitemaps")),
            )
        except (TypeError, KeyError):
            return None
        whole = snapshot.revision == revision and all(self.text(digest) is not None for _, _, digest in snapshot.pages)
        return snapshot if whole else None

    def keep_snapshot(self, snapshot: Snapshot) -> None:
        _save(self.root / "snapshots" / f"{snapshot.revision}.json.gz", asdict(snapshot))

    def _read(self, url: str) -> tuple[Answer, str] | None:
        try:
            line, _, body = gzip.decompress(self._place("answers", url).read_bytes()).partition(b"\n")
            head = json.loads(line)
            crawl = head.pop("crawl")
            return Answer(**head, body=body), crawl
        except (OSError, ValueError, TypeError, KeyError, AttributeError, EOFError, zlib.error):
            return None

    @property
    def _running(self) -> Path:
        return self.root / "running.json.gz"

    def _place(self, kind: str, url: str) -> Path:
        return self.root / kind / hash_text(url)[:32]

    def _text(self, digest: str) -> Path:
        return self.root / "texts" / f"{digest}.md.gz"


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def _write(path: Path, data: bytes) -> None:
    with whole_file(path, durable=False) as tmp:
        tmp.write_bytes(gzip.compress(data, _LEVEL, mtime=0))


def _save(path: Path, value: Plain) -> None:
    _write(path, json.dumps(value, ensure_ascii=False).encode("utf-8"))


def _load(path: Path) -> Plain | None:
    try:
        value = json.loads(gzip.decompress(path.read_bytes()))
    except (OSError, EOFError, zlib.error, ValueError):
        return None
    return value if isinstance(value, dict) else None
