"""Pages, the rows of data/pages.parquet: language, path, revision, text.

Page("zh", "concepts/pods.md", "1f6f0c...", "---\\ntitle: Pod\\n---\\n...")
write_pages(Path("data/pages.parquet"), pages)
load_pages(Path("data/pages.parquet"))           # the same pages, sorted by language and path
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import astuple, dataclass, field, fields
from pathlib import Path
from typing import Any

from doctune.errors import DoctuneError
from doctune.files import whole_file
from doctune.parquet import read_parquet

MAX_PAGE_BYTES = 2_000_000
ENDINGS = (".md", ".mdx", ".markdown")
_NAMED_IN_ERROR = 20


@dataclass(frozen=True, slots=True, order=True)
class Page:
    """One page.

    `lang` is "en" or "zh"; `path` is relative to that language's content folder, with forward slashes; `revision` is
    the commit (40 hex) or the hash of the tree (64 hex); `text` is the file as it stands, but for a byte order mark.
    """

    lang: str
    path: str
    revision: str
    text: str


@dataclass(slots=True)
class Found:
    """What a source holds before it is decoded: raw bytes by (lang, path), and what was left out, with the reason."""

    revision: str
    raw: dict[tuple[str, str], bytes] = field(default_factory=dict)
    skipped: list[tuple[str, str, str]] = field(default_factory=list)  # lang, path, reason

    def skip(self, lang: str, path: str, reason: str) -> None:
        self.skipped.append((lang, path, reason))


def why_not(path: str) -> str | None:
    """The reason why a file of this name is no page, or None if it may be one."""
    if not path.isprintable() or "\\" in path or any(part in ("", ".", "..", ".git") for part in path.split("/")):
        return "unsafe_path"
    return None if path.endswith(ENDINGS) else "not_markdown"


def decode(found: Found, where: str) -> list[Page]:
    """Turn raw bytes into pages, sorted; raises DoctuneError naming every page that is not UTF-8 text."""
    pages, bad = [], []
    for (lang, path), raw in sorted(found.raw.items()):
        try:
            text = raw.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            bad.append(f"{lang} {path} (byte {error.start})")
            continue
        if "\0" in text:  # UTF-16 without a byte order mark passes for UTF-8 full of NULs
            bad.append(f"{lang} {path} (NUL)")
            continue
        pages.append(Page(lang, path, found.revision, text))
    if bad:
        raise DoctuneError(
            f"wanted UTF-8, got {len(bad)} page(s) of {where} that are not: {some(bad)}; convert them to UTF-8"
        )
    return pages


def summary(pages: list[Page], found: Found) -> dict[str, Any]:
    """Counts for the report. Every file seen is counted once: as a page or under the reason why it is none.

    `skipped_files` names them, but for those that are simply not Markdown.
    """
    paths = {lang: {page.path for page in pages if page.lang == lang} for lang in ("en", "zh")}
    return {
        "revision": found.revision,
        "pages": {lang: len(names) for lang, names in paths.items()},
        "pages_on_both_sides": len(paths["en"] & paths["zh"]),
        "pages_only_en": len(paths["en"] - paths["zh"]),
        "pages_only_zh": len(paths["zh"] - paths["en"]),
        "characters": {lang: sum(len(page.text) for page in pages if page.lang == lang) for lang in paths},
        "skipped": {
            lang: dict(sorted(Counter(why for of, _, why in found.skipped if of == lang).items())) for lang in paths
        },
        "skipped_files": [
            {"lang": lang, "path": path, "reason": reason}
            for lang, path, reason in sorted(found.skipped)
            if reason != "not_markdown"
        ],
    }


def write_pages(path: Path, pages: Iterable[Page]) -> None:
    """Write the rows as parquet (zstd), sorted by language and path: the same pages give the same bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = [spec.name for spec in fields(Page)]
    rows = [astuple(page) for page in sorted(pages)]
    table = pa.table({name: pa.array([row[i] for row in rows], pa.string()) for i, name in enumerate(columns)})
    with whole_file(path) as tmp:
        pq.write_table(table, tmp, compression="zstd")


def load_pages(path: Path) -> list[Page]:
    """Read what `write_pages` wrote."""
    return [Page(*row) for row in read_parquet(path, [spec.name for spec in fields(Page)])]


def some(names: list[str]) -> str:
    """The names for a one-line message: all of them, or the first 20 and how many more."""
    more = len(names) - _NAMED_IN_ERROR
    return ", ".join(names[:_NAMED_IN_ERROR]) + (f" and {more} more" if more > 0 else "")
