"""A documentation site on loopback: examples/site as HTML in a theme's skeleton, served with faults where a test wants them.

with serve(example("concepts/pods.md")) as site:
    site.faults["/docs/concepts/pods/"] = [status(500), cut_off]      # the first two answers; then the page
    site.put("/docs/new/", html("New", "<p>New.</p>"))
    ... crawl site.url ...
    site.asked                       # [Asked("/robots.txt", 404, False), ...]
"""

import hashlib
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt

EXAMPLE = Path(__file__).parents[1] / "examples/site/content"
ROOTS = {"en": "docs", "zh-cn": "zh-cn/docs"}
LABELS = {
    "note": {"en": "Note:", "zh-cn": "说明："},
    "caution": {"en": "Caution:", "zh-cn": "注意："},
    "prerequisites": {"en": "Before you begin", "zh-cn": "准备开始"},
    "whatsnext": {"en": "What's next", "zh-cn": "接下来"},
}
TYPES = {"note": "info", "caution": "warning"}


# ---- rendering, as Hugo with a theme does it


def html(title: str, body: str, lang: str = "en", head: str = "", nav: str = "") -> str:
    """A page of the theme: what stands around the content is what a crawl has to leave out."""
    return f"""<!DOCTYPE html>
<html lang="{lang}"><head><meta charset="utf-8"><title>{title} | Handbook</title>{head}
<script>if (1 < 2) {{ document.title = "</p>"; }}</script><style>p {{ color: black }}</style></head>
<body class="td-page"><header><nav class="navbar"><a href="/">Handbook</a> <a href="/blog/">Blog</a></nav></header>
<div class="row"><aside class="td-sidebar"><nav id="sidebar"><ul>{nav}</ul></nav></aside>
<aside class="td-toc"><nav id="TableOfContents"><ul><li><a href="#top">On this page</a></li></ul></nav></aside>
<main role="main"><nav aria-label="breadcrumb"><ol class="breadcrumb"><li>You are here</li></ol></nav>
<div class="td-content"><h1>{title}</h1>
{body}
<div class="feedback--answer"><h2>Feedback</h2><p>Was this page helpful?</p><button>Yes</button></div>
<div class="td-page-meta__lastmod">Last modified yesterday</div></div></main></div>
<footer><p>All rights reserved.</p></footer></body></html>"""


def render(source: str, lang: str) -> tuple[str, str]:
    """Title and HTML body of one Markdown page of the example, its comments left out as a minifier does."""
    front, _, text = source.partition("---\n")[2].partition("\n---\n")
    title = re.search(r"^title: (.*)$", front, re.M)[1].strip("\"'")
    text = re.sub(r"<!--.*?-->", "", text, flags=re.S)
    text = re.sub(r"{{% heading \"(\w+)\" %}}", lambda found: LABELS[found[1]][lang], text)
    root = ROOTS[lang]
    text = re.sub(
        r"{{< glossary_tooltip term_id=\"([^\"]*)\" text=\"([^\"]*)\" >}}",
        lambda found: (
            f"<a class='glossary-tooltip' title='What a {found[1]} is, in many words' "
            f"href='/{root}/reference/glossary/?all=true#term-{found[1]}' target='_blank'>{found[2]}</a>"
        ),
        text,
    )
    text = re.sub(
        r"{{< (note|caution) >}}",
        lambda found: (
            f'<div class="alert alert-{TYPES[found[1]]}" role="alert"><h4 class="alert-heading">{LABELS[found[1]][lang]}</h4>\n'
        ),
        text,
    )
    text = re.sub(r"{{< /(note|caution) >}}", "\n</div>\n", text)
    assert "{{" not in text, text[text.index("{{") :][:80]
    markdown = MarkdownIt("commonmark").enable("table")
    tokens = markdown.parse(text)
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open":
            said = re.search(r"\s*\{#([^}]*)\}$", inline.content)
            name = said[1] if said else re.sub(r"\W+", "-", inline.content.lower()).strip("-")
            opening.attrSet("id", name)
            last = inline.children[-1]
            last.content = re.sub(r"\s*\{#[^}]*\}$", "", last.content)
            inline.children += markdown.parseInline(
                f'<a class="td-heading-self-link" href="#{name}" aria-label="Heading self-link"></a>'
            )[0].children
    body = markdown.renderer.render(tokens, markdown.options, {})
    body = re.sub(r"<pre>", '<div class="highlight"><pre tabindex="0">', body).replace("</pre>", "</pre></div>")
    return title, body


@cache
def example(*only: str) -> dict[str, str]:
    """Address path -> HTML of the example's pages; where `only` names some, of those (in both languages).

    Links to pages that are not there are taken away.
    """
    found = {}
    for lang, root in ROOTS.items():
        sources = {
            file.relative_to(EXAMPLE / lang / "docs").as_posix(): file for file in (EXAMPLE / lang).rglob("*.md")
        }
        places = {name: place(root, name) for name in sorted(sources) if not only or name in only}
        nav = "".join(f'<li><a href="{address}">{name}</a></li>' for name, address in places.items())
        for name, address in places.items():
            title, body = render(sources[name].read_text(encoding="utf-8"), lang)
            body = re.sub(
                rf"<a [^>]*href=['\"](/{root}/[^'\"?#]*)[^>]*>(.*?)</a>",
                lambda link, here=frozenset(places.values()): link[0] if link[1] in here else link[2],
                body,
            )
            found[address] = html(title, body, lang, nav=nav)
    return found


def place(root: str, name: str) -> str:
    return (
        f"/{root}/" + re.sub(r"(^|/)_index\.md$|\.md$", r"\1", name).rstrip("/") + ("" if name == "_index.md" else "/")
    )


# ---- serving


@dataclass(frozen=True)
class Asked:
    path: str
    status: int
    conditional: bool


@dataclass
class Reply:
    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Fault:
    """What a server does in the place of an answer; `status` is noted, 0 where it sends none."""

    status: int
    act: Callable[[BaseHTTPRequestHandler], None]


@dataclass
class WebSite:
    url: str
    pages: dict[str, Reply] = field(default_factory=dict)
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)

    def put(self, path: str, body: str | bytes, content_type: str = "text/html; charset=utf-8", **headers: str) -> None:
        raw = body.encode() if isinstance(body, str) else body
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.pages[path] = Reply(raw, headers={"Content-Type": content_type, **named})

    def redirect(self, path: str, to: str, code: int = 301) -> None:
        self.pages[path] = Reply(b"moved", code, {"Location": to})

    def sitemap(self, path: str, urls: list[str], index: bool = False) -> None:
        outer, inner = ("sitemapindex", "sitemap") if index else ("urlset", "url")
        entries = "".join(f"<{inner}><loc>{url}</loc></{inner}>\n" for url in urls)
        schema = 'xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"'
        self.put(path, f'<?xml version="1.0"?>\n<{outer} {schema}>{entries}</{outer}>', "application/xml")

    def requests(self, path: str) -> list[int]:
        return [asked.status for asked in self.asked if asked.path == path]

    def forget(self) -> None:
        self.asked.clear()


@contextmanager
def serve(pages: dict[str, str] | None = None) -> Iterator[WebSite]:
    """A site on a free port of loopback, which ends with the block."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 20

        def do_GET(self) -> None:
            with lock:
                waiting = site.faults.get(self.path)
                fault = waiting.pop(0) if waiting else None
            conditional = bool({"if-none-match", "if-modified-since"} & {name.lower() for name in self.headers})
            if fault is not None:
                with lock:
                    site.asked.append(Asked(self.path, fault.status, conditional))
                fault.act(self)
                return
            reply = site.pages.get(self.path, Reply(b"<p>no such page</p>", 404, {"Content-Type": "text/html"}))
            etag = f'"{hashlib.sha256(reply.body).hexdigest()[:16]}"'
            fresh = reply.status == 200 and self.headers.get("If-None-Match") == etag
            with lock:
                site.asked.append(Asked(self.path, 304 if fresh else reply.status, conditional))
            if fresh:
                answer(self, 304, b"", {"ETag": etag})
            else:
                answer(self, reply.status, reply.body, reply.headers | ({"ETag": etag} if reply.status == 200 else {}))

        def log_message(self, format: str, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            pass  # a client that hung up, as faults make it

    server = Server(("127.0.0.1", 0), Handler)
    site = WebSite(f"http://127.0.0.1:{server.server_port}")
    for path, body in (pages or {}).items():
        site.put(path, body)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def answer(handler: BaseHTTPRequestHandler, code: int, body: bytes, headers: dict[str, str]) -> None:
    handler.send_response(code)
    for name, value in headers.items():
        handler.send_header(name, value)
    if code != 304:
        handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


# ---- faults


def status(code: int, **headers: str) -> Fault:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Fault(code, lambda handler: answer(handler, code, b"no", named))


def _half_a_page(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", "text/html")
    handler.send_header("Content-Length", "5000")
    handler.end_headers()
    handler.wfile.write(b"<html><body><main><p>Half of a")
    handler.close_connection = True


def _half_of_the_chunks(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", "text/html")
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.wfile.write(b"10\r\n<html><body><p>H\r\n")
    handler.close_connection = True


def _hang_up(handler: BaseHTTPRequestHandler) -> None:
    handler.close_connection = True
    handler.connection.close()


def _say_nothing(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.recv(1)  # until the client hangs up
    handler.close_connection = True


silent = Fault(0, _say_nothing)
cut_off = Fault(200, _half_a_page)
cut_off_chunks = Fault(200, _half_of_the_chunks)
hang_up = Fault(0, _hang_up)


def drip(seconds: float) -> Fault:
    """A whole answer, byte by byte: no pause is long enough to be a time-out."""

    def act(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "text/html")
        handler.send_header("Content-Length", "100")
        handler.end_headers()
        for _ in range(100):
            handler.wfile.write(b".")
            time.sleep(seconds / 100)

    return Fault(200, act)
