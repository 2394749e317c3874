"""An HTML page as a crawl sees it: its links, what it says of itself, and its main content as Markdown.

    extract = read_html(answer, "en", knobs, site)
    extract.text          # "---\\ntitle: \\"Pods\\"\\n---\\n\\nA Pod is ...\\n\\n## Storage {#storage}\\n"
    extract.links         # ("https://kubernetes.io/docs/concepts/workloads/", ...)  those to pages of the site
    extract.reason        # "", or why it is no page: noindex, other_language, no_main_content, undecodable, too_big, too_deep

What stands around the main content (navigation, tables of contents, edit links, feedback forms) is no part of it. Two
ways in which a page says that it is another one are told apart: `leads_to` (a refresh, so there is nothing here) and
`same_as` (its canonical address).
"""

import codecs
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from doctune.sources.params import WebParams
from doctune.sources.web.address import Key, Site, join
from doctune.sources.web.client import Answer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from selectolax.lexbor import LexborHTMLParser, LexborNode

# What no site means as its documentation, wherever it stands. A site's own are the knob `leave_out`.
CLUTTER = (
    "script, style, noscript, template, iframe, object, embed, canvas, svg, dialog, nav, footer, form, button, input, "
    "select, textarea, video, audio, [hidden], [aria-hidden=true], [role=navigation], .sr-only, .visually-hidden, "
    "#TableOfContents, #toc, .toc, .td-toc, .table-of-contents, .breadcrumb, .breadcrumbs, .pagination, .pagination-nav, "
    ".td-page-meta, .td-page-meta__lastmod, .article-meta, .edit-page, .edit-this-page, .theme-edit-this-page, "
    "[class*=feedback], #feedback, #pre-footer, .d-print-none, .noprint, .headerlink, .hash-link, .anchorjs-link, "
    ".heading-anchor, .td-heading-self-link, .copybtn, .copy-button, .ln, .lnt, .lineno, .linenos"
)
MOST_TAGS = 100_000  # no page that people read comes near; a million take a minute
MOST_NESTED = 500  # HTML's rules take time that grows with the square of it
_NESTING = re.compile(
    r"<(/?)(?:div|section|article|main|aside|nav|header|footer|ul|ol|dl|blockquote|details|fieldset|figure|"
    r"center|form|pre|address|menu|hgroup|summary|dir|listing|search|table)\b",
    re.I,
)
_META_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([\w.:-]+)", re.I)
_HEADER_CHARSET = re.compile(r"charset\s*=\s*[\"']?\s*([\w.:-]+)", re.I)
_BROWSERS_READ = {"iso8859-1": "cp1252", "ascii": "cp1252", "gb2312": "gb18030", "gbk": "gb18030"}
_REFRESH = re.compile(r"\s*\d+(?:\.\d*)?\s*[;,]\s*url\s*=\s*['\"]?([^'\"]+)", re.I)
_TRADITIONAL = re.compile(r"zh-(hant|tw|hk|mo)\b")
_SITE_NAME = re.compile(r"(.*\S) [|\u2013\u2014\u00b7-] .+")  # the last part of a window's title


@dataclass(frozen=True)
class Extract:
    """What a page says; addresses are absolute, `links` only those of the site's pages, in their order, each once."""

    reason: str = ""
    text: str = ""
    links: tuple[str, ...] = ()
    leads_to: str = ""
    same_as: str = ""


def read_html(answer: Answer, lang: str, knobs: WebParams, site: Site) -> Extract:
    """Never raises, whatever the page holds; `lang` is the language that its place promises."""
    from selectolax.lexbor import LexborHTMLParser

    html = decode_html(answer.body, answer.content_type)
    if html is None:
        return Extract("undecodable")
    if html.count("<") > MOST_TAGS:
        return Extract("too_big")
    if nested(html) > MOST_NESTED:
        return Extract("too_deep")
    page = LexborHTMLParser(html)
    base = join(answer.url, _attribute(page, "base[href]", "href")) or answer.url
    refresh = join(base, said) if (said := _refresh(page)) else ""
    if refresh and _key(site, refresh) != _key(site, answer.url):
        return Extract(leads_to=refresh)
    rules = {
        rule.strip().lower() for rule in f"{answer.robots},{_meta(page, 'robots')},{_meta(page, 'doctune')}".split(",")
    }
    links = () if rules & {"nofollow", "none"} else tuple(_links(page, base, site))
    if rules & {"noindex", "none"}:
        return Extract("noindex", links=links)
    if not speaks(_attribute(page, "html", "lang"), lang):
        return Extract("other_language", links=links)
    same_as = join(base, canonical) if (canonical := _attribute(page, "link[rel~=canonical][href]", "href")) else ""
    content = next((node for selector in knobs.content if (node := page.css_first(selector)) is not None), None)
    if content is None:
        return Extract("no_main_content", links=links, same_as=same_as)
    try:
        text = _page_text(page, content, base, knobs, site)
    except RecursionError:
        return Extract("too_deep", links=links)
    return Extract(text=text, links=links, same_as=same_as)


def decode_html(body: bytes, content_type: str) -> str | None:
    """HTML as text: a byte order mark counts, then what the header says, then the page, then UTF-8; None if none fits."""
    for mark, name in (
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
    ):
        if body.startswith(mark):
            return _decode(body[len(mark) :], name)
    if match := _HEADER_CHARSET.search(content_type):
        return _decode(body, match[1])
    if found := _META_CHARSET.search(body[:4096]):
        return _decode(body, found[1].decode("ascii"))
    return _decode(body, "utf-8")


def nested(html: str) -> int:
    """How deep elements stand in each other at most, counting those that only a closing tag ends."""
    depth = deepest = 0
    for match in _NESTING.finditer(html):
        depth = max(depth - 1, 0) if match[1] else depth + 1
        deepest = max(deepest, depth)
    return deepest


def speaks(declared: str, lang: str) -> bool:
    """Whether a page that declares this language (as HTML's `lang` does) is one of `lang`; without any, it may be."""
    declared = declared.strip().lower().replace("_", "-")
    if not declared:
        return True
    return declared.split("-")[0] == lang and not (lang == "zh" and _TRADITIONAL.match(declared))


def _decode(body: bytes, label: str) -> str | None:
    try:
        name = codecs.lookup(label).name
    except LookupError:
        name = "utf-8"
    try:
        return body.decode(_BROWSERS_READ.get(name, name))
    except (UnicodeError, LookupError):  # the label may name a codec that makes no text
        return None


def _page_text(page: "LexborHTMLParser", content: "LexborNode", base: str, knobs: WebParams, site: Site) -> str:
    import json

    from doctune.sources.web.to_markdown import to_markdown

    outside = _line(page.css_first("h1")) or _site_title(page)
    _leave_out(content, ", ".join((CLUTTER, *knobs.leave_out)))
    heading = content.css_first("h1")
    title = _line(heading) or outside
    if heading is not None and heading.mem_id != content.mem_id:
        heading.decompose()
    body = to_markdown(content.html or "", base, site)
    return f"---\ntitle: {json.dumps(title, ensure_ascii=False)}\n---\n" + (f"\n{body}\n" if body else "")


def _leave_out(content: "LexborNode", selector: str) -> None:
    """Remove what matches; the outermost ones only, as what is removed must not be touched again."""
    matches = {node.mem_id: node for node in content.css(selector) if node.mem_id != content.mem_id}
    outermost = [node for node in matches.values() if not any(above.mem_id in matches for above in _above(node))]
    for node in outermost:
        node.decompose()


def _above(node: "LexborNode") -> "Iterator[LexborNode]":
    while (parent := node.parent) is not None:
        yield parent
        node = parent


def _line(node: "LexborNode | None") -> str:
    """The text of a heading on one line, without the sign of a link to itself."""
    line = " ".join(node.text().split()).rstrip("\u00b6#\U0001f517 ") if node is not None else ""
    return "".join(char for char in line if char.isprintable())  # others are none of YAML's


def _key(site: Site, url: str) -> Key | None:
    address = site.locate(url)
    return address.key if address else None


def _site_title(page: "LexborHTMLParser") -> str:
    """The title of the window, without the name of the site that follows it."""
    title = _line(page.css_first("title"))
    match = _SITE_NAME.fullmatch(title)
    return match[1] if match else title


def _links(page: "LexborHTMLParser", base: str, site: Site) -> list[str]:
    found: dict[str, None] = {}
    for node in page.css("a[href], area[href], link[rel~=alternate][hreflang][href]"):
        link = node.attributes.get("href") or ""
        if link.startswith("#") or "nofollow" in (node.attributes.get("rel") or "").lower().split():
            continue
        if address := site.locate(join(base, link)):
            found[address.url] = None
    return list(found)


def _refresh(page: "LexborHTMLParser") -> str:
    for node in page.css("meta[http-equiv][content]"):
        if (node.attributes.get("http-equiv") or "").strip().lower() == "refresh" and (
            match := _REFRESH.match(node.attributes.get("content") or "")
        ):
            return match[1].strip()
    return ""


def _meta(page: "LexborHTMLParser", name: str) -> str:
    return ",".join(
        node.attributes.get("content") or ""
        for node in page.css("meta[name][content]")
        if (node.attributes.get("name") or "").strip().lower() == name
    )


def _attribute(page: "LexborHTMLParser", selector: str, name: str) -> str:
    node = page.css_first(selector)
    return (node.attributes.get(name) or "") if node is not None else ""
