"""One polite HTTP client: a rate limit, conditional requests, time and size limits, retries with growing waits.

    with Client(rate=2.0) as client:
        answer = client.get(address, known=None, most_bytes=2_000_000, wanted=HTML)
        answer = client.get(address, known=answer, most_bytes=2_000_000, wanted=HTML)       # 304: what is known, confirmed

Redirects are given back, not followed: whether a target may be asked for is for the crawl to say. Cookies are dropped.
What may pass (429, 5xx, no connection, a body cut off) is tried again; Retry-After is obeyed, and one that asks for
more than MOST_WAIT ends the crawl, which a later one continues.
"""

import email.utils
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TYPE_CHECKING

from doctune import retry
from doctune.errors import DoctuneError, one_line
from doctune.retry import Transient, patiently

if TYPE_CHECKING:
    import httpx

NAME = "doctune"
USER_AGENT = f"{NAME} (reads documentation to learn its translation; obeys robots.txt)"
TIMEOUT = 30.0  # seconds without a byte
MOST_SECONDS = 180.0  # for one answer
MOST_WAIT = 300.0  # longest Retry-After that is waited for
_KEPT = {
    "content-type": "content_type",
    "location": "location",
    "etag": "etag",
    "last-modified": "modified",
    "x-robots-tag": "robots",
}
now, clock = time.time, time.monotonic  # a test puts others here
_HTML = re.compile(r"\s*(text/html|application/xhtml\+xml)\s*(;|$)", re.I)
_MAY_PASS = frozenset((408, 425, 429))  # and whatever is a fault of the server


class Unreadable(DoctuneError):
    """An address that answers with what no crawl can use, and will next time too."""


@dataclass(frozen=True)
class Answer:
    """What a server said. The body is empty where the status is not 200, it is too big, or of a type not asked for."""

    url: str
    status: int
    body: bytes = b""
    content_type: str = ""
    location: str = ""
    etag: str = ""
    modified: str = ""
    robots: str = ""
    too_big: bool = False

    @property
    def is_html(self) -> bool:
        return _HTML.match(self.content_type) is not None

    @property
    def is_redirect(self) -> bool:
        return self.status in (301, 302, 303, 307, 308)


class Client:
    """Use as a context manager. Not for use by several threads: one request at a time is part of its politeness."""

    def __init__(self, rate: float) -> None:
        self.interval = 1 / rate  # seconds between the starts of two requests; the crawl may lengthen it
        self.requests = 0
        self._next = 0.0
        self._http: httpx.Client | None = None

    def __enter__(self) -> "Client":
        import httpx

        headers = {"User-Agent": USER_AGENT, "Accept-Encoding": "gzip", "Accept": "*/*"}
        self._http = httpx.Client(headers=headers, timeout=TIMEOUT, follow_redirects=False)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._http is not None:
            self._http.close()

    def get(self, url: str, known: Answer | None, most_bytes: int, wanted: Callable[[Answer], bool]) -> Answer:
        """Ask for `url`; `known` is given back when the server says that it still holds.

        The body is read only where `wanted`, asked once the headers are there, says so. Raises Transient when the
        attempts are used up, Unreadable for an answer that is no use, DoctuneError when the server wants to be left alone.
        """
        import httpx

        def once() -> Answer:
            self._take_turn()
            try:
                return self._ask(url, known, most_bytes, wanted)
            except (httpx.TransportError, httpx.DecodingError) as error:
                reason = one_line(error)
                raise Transient(f"no whole answer from {url}: {reason}; check crawl.url and the network") from None
            except httpx.InvalidURL as error:
                raise Unreadable(f"{url} is no address that can be asked for: {error}") from None

        return patiently(once, f"reading {url}")

    def _take_turn(self) -> None:
        if (wait := self._next - clock()) > 0:
            retry.pause(wait)
        self._next = max(self._next, clock()) + self.interval
        self.requests += 1

    def _ask(self, url: str, known: Answer | None, most_bytes: int, wanted: Callable[[Answer], bool]) -> Answer:
        assert self._http is not None, "used outside its context"
        asked = {"If-None-Match": known.etag, "If-Modified-Since": known.modified} if known is not None else {}
        conditions = {header: value for header, value in asked.items() if value and value.isascii()}
        begin = clock()
        with self._http.stream("GET", url, headers=conditions) as response:
            self._http.cookies.clear()
            answer = Answer(
                url, response.status_code, **{name: response.headers.get(header, "") for header, name in _KEPT.items()}
            )
            if answer.status >= 500 or answer.status in _MAY_PASS:
                raise Transient(f"{url} answered {answer.status}; try again later", _asked_wait(response, url))
            if answer.status == 304 and known is not None and conditions:
                return replace(known, etag=answer.etag or known.etag, modified=answer.modified or known.modified)
            if answer.is_redirect or answer.status in (404, 410):
                return answer
            if answer.status != 200:
                raise Unreadable(f"{url} answered {answer.status}")
            if not wanted(answer):
                return answer
            body = bytearray()
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > most_bytes:
                    return replace(answer, too_big=True)
                if clock() - begin > MOST_SECONDS:
                    raise Transient(f"{url} was not read within {MOST_SECONDS:.0f} s; check the network")
            return replace(answer, body=bytes(body))


def _asked_wait(response: "httpx.Response", url: str) -> float:
    """Seconds that Retry-After asks for, as a number or a date; 0 without it."""
    said = response.headers.get("retry-after", "").strip()
    if said.isascii() and said.isdigit():
        wait = float(said[:9])
    else:
        try:
            wait = email.utils.parsedate_to_datetime(said).timestamp() - now()
        except (ValueError, OverflowError):
            return 0.0
    if wait > MOST_WAIT:
        raise DoctuneError(
            f"{url} answered {response.status_code} and asks to be left alone for {wait:.0f} s; run again after that: "
            "what was read is kept"
        )
    return max(wait, 0.0)
