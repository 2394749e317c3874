"""The knobs of the crawl: which documentation site is read, and from where.

crawl:
  source: git                                   # or tree: the local folder below; or web: the site at url
  name: kubernetes                              # its key in source.lock.yaml
  tree: examples/site
  url: https://github.com/kubernetes/website
  ref: main
  since: v1.33                                  # an older revision to compare with, or ''
  source_dir: content/en/docs                   # on the web: docs, below the url
  target_dir: content/zh-cn/docs
  licence: CC-BY-4.0                            # of the pages, for the data card
  attribution: The Kubernetes Authors, https://kubernetes.io/docs/
  web:
    rate: 2.0
    max_pages: 5000
    content: [.td-content, main]
    leave_out: []
"""

import re
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from doctune.section import Section, Slug

_SCHEME = re.compile(r"(https?|ssh|git|file)://.+")
_SCP_LIKE = re.compile(r"(\w[\w.-]*@)?\w[\w.-]*:(?!:).+")
_LICENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*(?: (?:AND|OR|WITH) [A-Za-z0-9][A-Za-z0-9.+-]*)*")
_NOT_IN_REF = re.compile(r"\.\.|@\{|//|[\s~^:?*\[\\]|[\x00-\x1f\x7f]")


def _content_dir(path: str) -> str:
    plain = path.isprintable() and "\\" not in path and not path.startswith("-")
    if not path or not plain or PurePosixPath(path).as_posix() != path:
        raise ValueError("wanted a plain relative path with forward slashes, such as content/en/docs")
    if PurePosixPath(path).is_absolute() or any(part in ("", ".", "..", ".git") for part in path.split("/")):
        raise ValueError("wanted a path inside the repository, such as content/en/docs")
    return path


def _url(url: str) -> str:
    """Refuse what git would take as an option or a command to run, and secrets that the lock would put under git."""
    if not url:
        return url
    if url.startswith("-") or not url.isprintable():
        raise ValueError("wanted the address of a git repository or a path to one, not an option")
    if "://" in url or "::" in url.split("/")[0]:
        if not _SCHEME.fullmatch(url):
            raise ValueError("wanted an https, http, ssh, git or file address, or a local path")
        user, at, host = url.split("://", 1)[1].split("/", 1)[0].rpartition("@")
        if host.startswith("-"):
            raise ValueError("wanted a host name, not an option")
        if at and (":" in user or url.startswith("http")):
            raise ValueError("wanted no user or password in the address (it goes under git); use a credential helper")
    return url


def _is_web(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return (
            parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and not set(url) & set("?#;")
        )
    except ValueError:
        return False


def _ref(ref: str) -> str:
    if ref.startswith(("-", "/")) or ref.endswith(("/", ".", ".lock")) or _NOT_IN_REF.search(ref):
        raise ValueError("wanted a branch, a tag or a full 40-character commit")
    return ref


def _licence(licence: str) -> str:
    if licence and not _LICENCE.fullmatch(licence):
        raise ValueError("wanted an SPDX licence identifier such as CC-BY-4.0, or nothing where none is stated")
    return licence


def _line(text: str) -> str:
    if not text.isprintable() or len(text) > 500:
        raise ValueError("wanted one line of at most 500 characters")
    return text


def _selectors(selectors: list[str]) -> list[str]:
    from selectolax.lexbor import LexborHTMLParser, SelectolaxError

    page = LexborHTMLParser("")
    for selector in selectors:
        try:
            page.css(selector)
        except SelectolaxError:
            raise ValueError(f"wanted CSS selectors, such as .td-content or main > article, got {selector!r}") from None
    return selectors


class WebParams(Section):
    """Section `crawl.web`: how a web site is read."""

    rate: float = Field(gt=0, le=100, description="requests a second at most; robots.txt may ask for fewer")
    max_pages: int = Field(gt=0, description="a site with more stops the crawl")
    content: Annotated[list[str], Field(min_length=1), AfterValidator(_selectors)]
    leave_out: Annotated[list[str], AfterValidator(_selectors)]


class CrawlParams(Section):
    """Section `crawl`. `tree` is watched by DVC whichever source is read, so it is always a folder.

    `since` is a branch, tag or commit of the same repository, whose pages are kept beside those of `ref`; '' for none.
    The two content folders are relative to the repository, the tree or the web address, and neither lies in the other.
    licence (SPDX) and attribution are what the source asks of those who use its pages; the data card states them.
    """

    source: Literal["tree", "git", "web"]
    name: Slug
    tree: str
    url: Annotated[str, AfterValidator(_url)]
    ref: Annotated[str, AfterValidator(_ref)]
    since: Annotated[str, AfterValidator(_ref)]
    source_dir: Annotated[str, AfterValidator(_content_dir)]
    target_dir: Annotated[str, AfterValidator(_content_dir)]
    licence: Annotated[str, AfterValidator(_licence)]
    attribution: Annotated[str, AfterValidator(_line)]
    web: WebParams

    @model_validator(mode="after")
    def _complete(self) -> "CrawlParams":
        if not self.tree:
            raise ValueError("tree: wanted a local folder (DVC watches it in either case)")
        if self.source == "git" and not (self.url and self.ref):
            raise ValueError("url, ref: wanted both when source is git")
        if self.source != "git" and self.since:
            raise ValueError("since: wanted '' unless source is git, as only a repository keeps older revisions")
        if self.source == "web" and not _is_web(self.url):
            raise ValueError(
                "url: wanted a plain http or https address when source is web, such as https://kubernetes.io"
            )
        source, target = PurePosixPath(self.source_dir), PurePosixPath(self.target_dir)
        if source.is_relative_to(target) or target.is_relative_to(source):
            raise ValueError("source_dir, target_dir: wanted two folders, neither inside the other")
        return self

    @property
    def dirs(self) -> dict[str, str]:
        """The content folder of each language, keyed as in the rows: en, zh."""
        return {"en": self.source_dir, "zh": self.target_dir}


def address(url: str) -> str:
    """What git is given for `url`: a local path made absolute (seen from the project's root), others as they are."""
    if "://" in url or (_SCP_LIKE.fullmatch(url) and "/" not in url.split(":", 1)[0]):
        return url
    return str(Path(url).resolve())
