"""robots.txt: what a site lets doctune ask for, how fast, and where its sitemaps are (RFC 9309, by protego).

    robots = read_robots(site, ask)
    robots.allows("https://kubernetes.io/docs/")      # True
    robots.delay                                      # 0.0, or the seconds of Crawl-delay and Request-rate
    robots.sitemaps                                   # ["https://kubernetes.io/sitemap.xml"]

A site without the file allows everything; one whose file cannot be read at the moment allows nothing.
"""

from collections.abc import Callable
from typing import Any

from doctune.errors import DoctuneError
from doctune.sources.web.address import Site, join
from doctune.sources.web.client import NAME, Answer, Unreadable

MOST_HOPS = 5  # as the RFC says
Ask = Callable[[str], Answer]


class Robots:
    """The rules of one site for doctune."""

    def __init__(self, text: str) -> None:
        from protego import Protego

        self._rules: Any = Protego.parse(text)
        rate = self._rules.request_rate(NAME)
        self.delay = max(float(self._rules.crawl_delay(NAME) or 0), rate.seconds / rate.requests if rate else 0.0)
        self.sitemaps = list(dict.fromkeys(self._rules.sitemaps))

    def allows(self, url: str) -> bool:
        return bool(self._rules.can_fetch(url, NAME))


def read_robots(site: Site, ask: Ask) -> Robots:
    """Raises DoctuneError (Transient, when it may pass) when there are rules that cannot be read."""
    url = f"{site.origin}/robots.txt"
    for _ in range(MOST_HOPS + 1):
        try:
            answer = ask(url)
        except Unreadable:  # 401, 403: the RFC takes any 4xx for a site without rules
            return Robots("")
        if answer.is_redirect and (target := site.on_host(join(url, answer.location))):
            url = target
            continue
        if answer.too_big:
            raise DoctuneError(f"wanted rules for robots, got a file that is too big: {url}; the site has to mend it")
        return Robots(answer.body.decode("utf-8-sig", "replace"))  # empty when it is gone, or led elsewhere
    return Robots("")
