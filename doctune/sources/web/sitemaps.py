"""Sitemaps: the addresses that a site says it has, from urlsets, indexes of sitemaps, gzipped ones and plain lists.

    read_sitemap(b"<urlset><url><loc>https://kubernetes.io/docs/</loc></url></urlset>")
    # Sitemap(urls=["https://kubernetes.io/docs/"], sitemaps=[], problem="")

The alternates of a page in other languages (`xhtml:link`) count as addresses too. What stands before a fault in a file
is used, and the fault is told.

    for url in Sitemaps(site, ask).addresses(["https://kubernetes.io/sitemap.xml"], guessed=True): ...
"""

import io
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from doctune.sources.progress import say
from doctune.sources.web.address import Site, join
from doctune.sources.web.client import Answer, Unreadable

MAX_SITEMAP_BYTES = 52_428_800  # what sitemaps.org allows
MOST_SITEMAPS = 500
_GZIP = b"\x1f\x8b"


@dataclass
class Sitemap:
    """Absolute addresses of pages and of further sitemaps, in the order of the file; problem is "" for a sound one."""

    urls: list[str] = field(default_factory=list)
    sitemaps: list[str] = field(default_factory=list)
    problem: str = ""


class Sitemaps:
    """The sitemaps of one site, each asked for once; `bad` holds those of no use, with the reason."""

    def __init__(self, site: Site, ask: Callable[[str], Answer]) -> None:
        self.bad: list[tuple[str, str]] = []
        self._site, self._ask = site, ask
        self._seen: set[str] = set()

    def addresses(self, urls: list[str], guessed: bool) -> Iterator[str]:
        """What these sitemaps list, and those that they name. One that is only `guessed` may be missing.

        Raises DoctuneError (Transient) when one cannot be read at the moment.
        """
        queue = deque((url, guessed) for url in urls)
        while queue:
            said, guess = queue.popleft()
            url = self._site.on_host(said)
            if url in self._seen:
                continue
            if url is None or len(self._seen) >= MOST_SITEMAPS:
                self._refuse(said, "elsewhere" if url is None else "too_many")
                continue
            self._seen.add(url)
            try:
                answer = self._ask(url)
            except Unreadable:  # 403, say
                answer = Answer(url, 404)
            if answer.is_redirect:
                queue.appendleft((join(url, answer.location), guess))
            elif answer.status != 200 or answer.too_big:
                if answer.too_big or not guess:
                    self._refuse(url, "too_big" if answer.too_big else "gone")
            else:
                sitemap = read_sitemap(answer.body)
                if sitemap.problem and not (guess and sitemap.problem == "no_sitemap"):
                    self._refuse(url, sitemap.problem)
                queue.extend((inner, False) for inner in sitemap.sitemaps)
                yield from sitemap.urls

    def _refuse(self, url: str, problem: str) -> None:
        if (url, problem) not in self.bad:
            self.bad.append((url, problem))
            say(f"could not use the sitemap {url}: {problem}; pages that only it names are missed")


def read_sitemap(data: bytes) -> Sitemap:
    """Read one file; never raises, whatever it holds."""
    found = Sitemap()
    if data[:2] == _GZIP:
        try:
            inflate = zlib.decompressobj(zlib.MAX_WBITS | 16)
            data = inflate.decompress(data, MAX_SITEMAP_BYTES)
        except zlib.error:
            found.problem = "not_gzip"
            return found
        if inflate.unconsumed_tail:
            found.problem = "too_big"
            return found
        if not inflate.eof:
            found.problem = "cut_off"
    head = data[:1024].removeprefix(b"\xef\xbb\xbf").lstrip()
    if head.startswith(b"<"):
        _read_xml(data, found)
    elif head.startswith((b"http://", b"https://")):
        found.urls = [line.strip() for line in data.decode("utf-8", "replace").splitlines() if line.strip()]
    else:
        found.problem = "no_sitemap"
    return found


def _read_xml(data: bytes, found: Sitemap) -> None:
    """No entity is resolved, nothing else is loaded, and an element is dropped as soon as it is read."""
    from lxml import etree

    within = ""
    try:
        parser = etree.iterparse(io.BytesIO(data), events=("start", "end"), resolve_entities=False, no_network=True)
        for event, element in parser:
            name = etree.QName(element).localname if isinstance(element.tag, str) else ""
            if event == "start":
                if not within:
                    within = name
                    if within not in ("urlset", "sitemapindex"):
                        found.problem = "no_sitemap"
                        return
                continue
            if name == "loc" and (text := (element.text or "").strip()):
                (found.urls if within == "urlset" else found.sitemaps).append(text)
            elif name == "link" and within == "urlset" and (text := element.get("href", "").strip()):
                found.urls.append(text)
            elif name in ("url", "sitemap"):
                element.clear()
                while element.getprevious() is not None:
                    del element.getparent()[0]
    except (etree.XMLSyntaxError, ValueError):
        found.problem = "broken"
