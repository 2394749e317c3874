"""Addresses of a site's pages: which links lead to one, in which language, and when two of them are the same page.

    site = Site("https://kubernetes.io", {"en": "docs", "zh": "zh-cn/docs"})
    site.locate("http://kubernetes.io/docs/concepts/pods/?utm=1#limits")
    # Address("en", "concepts/pods", "https://kubernetes.io/docs/concepts/pods/")
    site.locate("https://kubernetes.io/blog/")        # None: below neither content folder

A page is known by its language and its name, the path below the content folder without the spellings that lead to the
same page (`/`, `/index.html`, `.html`). Query, fragment and `;session` are no part of a page's address, so session ids
and calendars cannot make endless pages of one. Only addresses that `locate` gives are ever asked for.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote, unquote_to_bytes, urljoin, urlsplit

from doctune.sources.pages import why_not

_MOST_STEPS = 16
_MOST_REPEATS = 3
_SAFE = "/~!$&'()*+,=:@-._"
_PORTS = {"http": 80, "https": 443}
_PARAMETERS = re.compile(r";[^/]*")
_SPELLING = re.compile(r"(?:(?:^|/)index\.html?|\.html?)?/?$", re.I)


class Key(NamedTuple):
    """One page of one language, however its address is spelled."""

    lang: str
    name: str


@dataclass(frozen=True)
class Address:
    """Where a page is asked for; `name` is "" for the content folder itself."""

    lang: str
    name: str
    url: str

    @property
    def key(self) -> Key:
        return Key(self.lang, self.name)

    @property
    def refusal(self) -> str | None:
        """Why this is never asked for: a path that is none, or goes on for ever (very deep, the same step again)."""
        steps = self.name.split("/")
        if len(steps) > _MOST_STEPS or any(steps.count(step) > _MOST_REPEATS for step in set(steps)):
            return "trap"
        return why_not(f"{self.name}.md") if self.name else None


class Site:
    """One origin and the content folder of each language on it."""

    def __init__(self, url: str, dirs: dict[str, str]) -> None:
        parts = urlsplit(url)
        self.scheme, self.host = parts.scheme, (parts.hostname or "")
        self._port = parts.port or _PORTS[self.scheme]
        shown = f"[{self.host}]" if ":" in self.host else self.host
        self.origin = f"{self.scheme}://{shown}" + ("" if self._port == _PORTS[self.scheme] else f":{self._port}")
        self.base = parts.path.rstrip("/")
        self.folders = {lang: f"{self.base}/{folder}" for lang, folder in dirs.items()}
        self.locate = lru_cache(maxsize=1 << 16)(self._locate)

    def roots(self) -> list[Address]:
        """The content folders themselves, where a crawl begins."""
        return [Address(lang, "", f"{self.origin}{quote(folder, _SAFE)}/") for lang, folder in self.folders.items()]

    def on_host(self, url: str) -> str | None:
        """`url` as an address of this site's host, with its scheme, normal escapes and no fragment; None if elsewhere."""
        try:
            parts = urlsplit(url.strip())
            port = parts.port or _PORTS.get(parts.scheme)
        except ValueError:
            return None
        if parts.hostname != self.host or parts.username or parts.password or parts.scheme not in _PORTS:
            return None
        usual = self._port == _PORTS[self.scheme] and port == _PORTS[parts.scheme]  # old links say http
        if not usual and (parts.scheme, port) != (self.scheme, self._port):
            return None
        path = quote(re.sub("//+", "/", _plain(parts.path)), _SAFE)
        return urljoin(f"{self.origin}/", path) + (f"?{parts.query}" if parts.query else "")

    def _locate(self, url: str) -> Address | None:
        """The page at an absolute address, or None when it is none of this site's content folders'."""
        here = self.on_host(_PARAMETERS.sub("", url.partition("#")[0].partition("?")[0]))
        if here is None:
            return None
        path = _plain(urlsplit(here).path)
        for lang, folder in self.folders.items():
            if path == folder or path.startswith(folder + "/"):
                return Address(lang, _SPELLING.sub("", path[len(folder) + 1 :]), here)
        return None


def join(base: str, link: str) -> str:
    """`link` as seen from the page at `base`; "" when it makes no address."""
    try:
        return urljoin(base, link.strip())
    except ValueError:
        return ""


def page_paths(names: Iterable[str]) -> dict[str, str]:
    """The path that a repository would have for each page: a page with pages below it is its folder's `_index.md`.

    page_paths(["", "concepts", "concepts/pods"])
    # {"": "_index.md", "concepts": "concepts/_index.md", "concepts/pods": "concepts/pods.md"}

    Given the names of both languages together, a page has the same path in both.
    """
    names = set(names)
    folders = {""} | {name[:at] for name in names for at, char in enumerate(name) if char == "/"}
    return {name: f"{name}/_index.md".lstrip("/") if name in folders else f"{name}.md" for name in sorted(names)}


def _plain(path: str) -> str:
    return unquote_to_bytes(path).decode("utf-8", "replace")
