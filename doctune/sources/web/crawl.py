"""The crawl: from the content folders, the sitemaps and the links of what was read to every page of a site.

    snapshot = take_snapshot(params, memo, client)

One page after the other, in the order in which they are found, so that the same site gives the same snapshot. What the
server said lies in the memo: a crawl that was cut short asks for nothing twice, and a new one asks whether what is there
still holds. Every address of a content folder ends as a page or with the reason why it is none:

    disallowed      robots.txt forbids it              gone               404 or 410
    moved           a redirect to another page         redirected_away    to what is no page of its language here
    redirect_loop   a redirect that comes back         too_many_redirects a chain of more than MOST_HOPS
    not_html        another type of content            too_big            in bytes (MAX_PAGE_BYTES) or tags
    duplicate       its canonical address is a page    noindex, other_language, no_main_content, undecodable, too_deep
    trap            a path without end                 unsafe_path        a path that no file may have

A page that stays broken (5xx after all attempts, 403, no connection) fails the crawl: a corpus must not shrink unseen.
"""

import time
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import asdict
from functools import cached_property
from pathlib import Path

from doctune.errors import DoctuneError
from doctune.files import hash_path, hash_text
from doctune.retry import Transient
from doctune.sources.pages import MAX_PAGE_BYTES, some
from doctune.sources.params import CrawlParams
from doctune.sources.progress import say
from doctune.sources.web.address import Address, Key, Site, join, page_paths
from doctune.sources.web.client import Answer, Client, Unreadable
from doctune.sources.web.extract import Extract, read_html
from doctune.sources.web.memo import Memo, Snapshot
from doctune.sources.web.robots import read_robots
from doctune.sources.web.sitemaps import MAX_SITEMAP_BYTES, Sitemaps

MOST_HOPS = 5
MOST_BROKEN = 10  # then the site is down, and asking for the rest would take hours
PROGRESS_SECONDS = 5.0
_LIBRARIES = ("selectolax", "markdownify", "beautifulsoup4")


def take_snapshot(params: CrawlParams, memo: Memo, client: Client) -> Snapshot:
    """Read the whole site; raises DoctuneError when a page stays broken, or no page exists in both languages."""
    return _Crawl(params, memo, client).run()


def knobs(params: CrawlParams) -> dict[str, object]:
    """What of the params decides what a snapshot holds."""
    return {"url": params.url, "dirs": params.dirs, "content": params.web.content, "leave_out": params.web.leave_out}


class _Crawl:
    def __init__(self, params: CrawlParams, memo: Memo, client: Client) -> None:
        self.params, self.memo, self.client = params, memo, client
        self.site = Site(params.url, params.dirs)
        self.known: dict[Key, Address] = {}
        self.queue: deque[Address] = deque()
        self.asked = 0  # for, ever: what was queued
        self.hops: dict[Key, int] = {}
        self.texts: dict[Key, str] = {}
        self.reasons: dict[Key, str] = {}
        self.leads: dict[Key, Key] = {}  # where a redirect or a canonical address leads
        self.broken: list[tuple[str, DoctuneError]] = []
        self.sitemaps = Sitemaps(self.site, lambda url: self._get(url, MAX_SITEMAP_BYTES, html=False))
        self._told = time.monotonic()

    def run(self) -> Snapshot:
        if self.memo.begin():
            say(f"continuing the crawl of {self.params.url} that was cut short")
        self.robots = read_robots(self.site, lambda url: self._get(url, MAX_PAGE_BYTES, html=False))
        if self.robots.delay > self.client.interval:
            self.client.interval = self.robots.delay
            say(f"robots.txt of {self.site.origin} asks for {self.robots.delay:g} s between requests")
        for address in self.site.roots():
            self._found(address)
        self._read_sitemaps()
        while self.queue and len(self.broken) < MOST_BROKEN:
            address = self.queue.popleft()
            try:
                self._visit(address)
            except (Transient, Unreadable) as error:
                self.broken.append((address.url, error))
            self._tell()
        if self.broken:
            raise self._broken()
        self.memo.end()
        snapshot = self._snapshot()
        self.memo.keep_snapshot(snapshot)
        return snapshot

    def _found(self, address: Address, hops: int = 0) -> None:
        """Note a page to visit, unless it is known under this or another spelling."""
        if address.key in self.known:
            return
        self.known[address.key] = address
        self.hops[address.key] = hops
        if reason := address.refusal or (None if self.robots.allows(address.url) else "disallowed"):
            self.reasons[address.key] = reason
            return
        self.queue.append(address)
        self.asked += 1
        if self.asked > self.params.web.max_pages:
            raise DoctuneError(
                f"wanted at most {self.params.web.max_pages} pages (crawl.web.max_pages), got more below "
                f"{' and '.join(self.site.folders.values())} of {self.site.origin}; raise it, or name smaller folders"
            )

    def _get(self, url: str, most_bytes: int, html: bool) -> Answer:
        """What the server says, from the memo if this crawl has asked already. Redirects are given back."""
        if answer := self.memo.fresh(url):
            return answer
        answer = self.client.get(url, self.memo.answer(url), most_bytes, lambda head: head.is_html or not html)
        self.memo.keep(answer)
        return answer

    def _read_sitemaps(self) -> None:
        """Follow the sitemaps of robots.txt, else the usual one; then, for a language that none names, its own."""
        listed = self.robots.sitemaps
        self._take(self.sitemaps.addresses(listed or [f"{self.site.origin}/sitemap.xml"], guessed=not listed))
        for lang, folder in self.site.folders.items():
            if not any(key.lang == lang and key.name for key in self.known):
                own = f"{self.site.origin}/{folder.strip('/').partition('/')[0]}/sitemap.xml"
                self._take(self.sitemaps.addresses([own], guessed=True))

    def _take(self, urls: Iterable[str]) -> None:
        for place in map(self.site.locate, urls):
            if place:
                self._found(place)

    def _visit(self, address: Address) -> None:
        """Read one page: note its text or the reason why it has none, and the pages that it links to."""
        answer, target = self._answer(address)
        if target is not None:
            self._moved(address, target)
        elif answer is None:
            self.reasons[address.key] = "redirect_loop"
        elif answer.status != 200:
            self.reasons[address.key] = "gone"
        elif not answer.is_html:
            self.reasons[address.key] = "not_html"
        elif answer.too_big:
            self.reasons[address.key] = "too_big"
        else:
            extract, text = self._extract(answer, address.lang)
            self._take(extract.links)
            if extract.leads_to:
                self._moved(address, extract.leads_to)
            elif extract.reason:
                self.reasons[address.key] = extract.reason
            else:
                self.texts[address.key] = text
                same = self.site.locate(extract.same_as)
                if same and same.lang == address.lang and same.key != address.key:
                    self.leads[address.key] = same.key
                    self._found(same)

    def _answer(self, address: Address) -> tuple[Answer | None, str | None]:
        """The answer, or where it leads to when that is not another spelling of the same page; neither for a loop."""
        url, seen = address.url, set[str]()
        while url not in seen:
            seen.add(url)
            answer = self._get(url, MAX_PAGE_BYTES, html=True)
            if not answer.is_redirect:
                return answer, None
            there = join(url, answer.location)
            place = self.site.locate(there)
            if place and self.site.scheme == "http" and there.lower().startswith("https:"):
                raise DoctuneError(
                    f"{url} has moved to https; set crawl.url to https://{self.site.host}{self.site.base}"
                )
            if place is None or place.key != address.key or not self.robots.allows(place.url):
                return answer, there
            url = place.url
        return None, None

    def _moved(self, address: Address, target: str) -> None:
        place = self.site.locate(target)
        if place is None or place.lang != address.lang:
            self.reasons[address.key] = "redirected_away"
        elif place.key == address.key:
            self.reasons[address.key] = "disallowed"
        elif self.hops[address.key] >= MOST_HOPS:
            self.reasons[address.key] = "too_many_redirects"
        else:
            self.reasons[address.key] = "moved"
            self.leads[address.key] = place.key
            self._found(place, self.hops[address.key] + 1)

    def _extract(self, answer: Answer, lang: str) -> tuple[Extract, str]:
        """What the page says, and the hash of its text; from the memo where body, code and knobs are the same."""
        said = hash_text(answer.content_type, answer.robots, lang, repr(knobs(self.params)), self._code)
        key = hash_text(said, answer.body.decode("latin-1"))
        held = self.memo.extract(answer.url, key)
        if held is not None and (not held["text"] or self.memo.text(held["text"]) is not None):
            return Extract(**held | {"text": "", "links": tuple(held["links"])}), held["text"]
        extract = read_html(answer, lang, self.params.web, self.site)
        text = self.memo.keep_text(extract.text) if extract.text else ""
        self.memo.keep_extract(answer.url, key, asdict(extract) | {"text": text})
        return extract, text

    @cached_property
    def _code(self) -> str:
        """What stands for the code that makes text of HTML."""
        from importlib.metadata import version

        return hash_text(hash_path(Path(__file__).parent), *map(version, _LIBRARIES))

    def _snapshot(self) -> Snapshot:
        for key in [*self.leads]:
            end = self._end(key)
            if key in self.texts and end in self.texts:
                del self.texts[key]
                self.reasons[key] = "duplicate"
            elif key not in self.texts and end is None:
                self.reasons[key] = "redirect_loop"
        paths = page_paths(key.name for key in self.texts)
        pages = {(key.lang, paths[key.name]): text for key, text in self.texts.items()}
        counts = Counter(lang for lang, _ in pages)
        if not {path for lang, path in pages if lang == "en"} & {path for lang, path in pages if lang == "zh"}:
            left_out = Counter(f"{key.lang} {reason}" for key, reason in self.reasons.items())
            shown = ", ".join(f"{reason}: {count}" for reason, count in sorted(left_out.items())) or "nothing"
            raise DoctuneError(
                f"wanted pages that exist in both languages, got none: {counts['en']} below {self.site.folders['en']} "
                f"and {counts['zh']} below {self.site.folders['zh']} of {self.site.origin} (left out: {shown}); check "
                "crawl.url, crawl.source_dir, crawl.target_dir and crawl.web.content"
            )
        return Snapshot(
            dict(knobs(self.params)),
            sorted((lang, path, text) for (lang, path), text in pages.items()),
            sorted((key.lang, key.name or "/", reason) for key, reason in self.reasons.items()),
            sorted(self.sitemaps.bad),
        )

    def _end(self, key: Key) -> Key | None:
        """Where redirects and canonical addresses lead to in the end; None when they come back."""
        seen = {key}
        while key in self.leads:
            key = self.leads[key]
            if key in seen:
                return None
            seen.add(key)
        return key

    def _broken(self) -> DoctuneError:
        urls = [url for url, _ in self.broken]
        stopped = " (and stopped there)" if len(urls) >= MOST_BROKEN else ""
        return DoctuneError(
            f"wanted every page of {self.params.url}, got {len(urls)} that stayed broken{stopped}: {some(urls)}; the "
            f"first: {self.broken[0][1]}; what was read is kept: run it again"
        )

    def _tell(self) -> None:
        now = time.monotonic()
        if now - self._told >= PROGRESS_SECONDS:
            self._told = now
            done = len(self.known) - len(self.queue)
            say(f"{self.params.url}: {done} of {len(self.known)} known pages done, {self.client.requests} requests")
