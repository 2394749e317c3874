"""The web source: which addresses are pages, HTML as Markdown, a polite crawl through faults, and the snapshot in the lock."""

import gzip
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import doctune.retry
from doctune.errors import DoctuneError
from doctune.files import read_json
from doctune.locks import hold
from doctune.markdown import TEXT_KINDS, Document
from doctune.retry import Transient
from doctune.section import read_yaml, validate
from doctune.sources import CrawlParams, Page, load_pages, locked, read_pages, update
from doctune.sources import web as module
from doctune.sources.params import WebParams
from doctune.sources.web import address, client, crawl
from doctune.sources.web.address import Address, Site, page_paths
from doctune.sources.web.client import Answer, Client
from doctune.sources.web.extract import read_html, speaks
from doctune.sources.web.memo import RESUME_SECONDS, Memo
from doctune.sources.web.sitemaps import read_sitemap
from doctune.sources.web.to_markdown import to_markdown
from doctune.text import flatten
from tests import website
from tests.website import WebSite, cut_off, cut_off_chunks, drip, example, hang_up, html, serve, silent, status

LOCK = Path("source.lock.yaml")
SMALL = ("_index.md", "concepts/_index.md", "concepts/pods.md")
DIRS = {"en": "docs", "zh": "zh-cn/docs"}
K8S = Site("https://kubernetes.io", DIRS)
POD, POD_ZH = "/docs/concepts/pods/", "/zh-cn/docs/concepts/pods/"
PODS = "<p>A Pod holds containers.</p>"
PODS_ZH = "<p>Pod 中有若干容器。</p>"


def params(url: str, web: dict[str, Any] | None = None, **changes: Any) -> CrawlParams:
    knobs = {"rate": 100.0, "max_pages": 200, "content": [".td-content"], "leave_out": []} | (web or {})
    plain = {
        "source": "web",
        "name": "site",
        "tree": "examples/site",
        "url": url,
        "ref": "main",
        "source_dir": "docs",
        "target_dir": "zh-cn/docs",
        "since": "",
        "licence": "Apache-2.0",
        "attribution": "The doctune project",
        "web": knobs,
    }
    return validate(CrawlParams, plain | changes, "crawl:")


def read(wanted: CrawlParams) -> tuple[list[Page], dict[str, Any]]:
    """What a scheduled run does: refresh the lock, then read at it."""
    update(wanted, LOCK)
    return read_pages(wanted, locked(wanted, LOCK))


def names(pages: list[Page]) -> list[str]:
    return [f"{page.lang} {page.path}" for page in pages]


def reasons(report: dict[str, Any]) -> dict[str, str]:
    return {f"{row['lang']} {row['path']}": row["reason"] for row in report["skipped_files"]}


SMALL_PAGES = [f"{lang} {name}" for lang in ("en", "zh") for name in SMALL]


@pytest.fixture(autouse=True)
def waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A folder of its own for each test; pauses are noted, not made."""
    made: list[float] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(doctune.retry, "pause", made.append)
    return made


@pytest.fixture
def site() -> Iterator[WebSite]:
    with serve(example(*SMALL)) as served:
        yield served


# ---- knobs and the lock


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        pytest.param({"url": "git@example.com:a/b"}, "url: wanted a plain http", id="ssh"),
        pytest.param({"url": "file:///etc"}, "url: wanted a plain http", id="file"),
        pytest.param({"url": "https://example.com/?a=1"}, "url: wanted a plain http", id="query"),
        pytest.param({"url": "https:///docs"}, "url: wanted a plain http", id="no-host"),
        pytest.param({"url": "https://example.com:99999"}, "url: wanted a plain http", id="no-port"),
        pytest.param({"url": ""}, "url: wanted a plain http", id="none"),
        pytest.param({"web": {"rate": 0.0}}, "web.rate: ", id="no-rate"),
        pytest.param({"web": {"content": ["main["]}}, "web.content: wanted CSS selectors", id="no-selector"),
        pytest.param({"web": {"content": []}}, "web.content: ", id="no-selectors"),
        pytest.param({"web": {"leave_out": ["p:contains(x"]}}, "web.leave_out: wanted CSS", id="no-selector-left-out"),
    ],
)
def test_bad_knobs_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(DoctuneError, match=said) as caught:
        params(**{"url": "https://example.com"} | changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        pytest.param("{web: https://other.example.com, revision: a}", "another source.*source update", id="other-site"),
        pytest.param("{tree: examples/site}", "another source.*source update", id="other-kind"),
        pytest.param("{web: https://kubernetes.io, revision: main}", "revision: .*got 'main'", id="no-revision"),
        pytest.param("{web: https://kubernetes.io}", "revision: missing", id="revision-missing"),
    ],
)
def test_a_lock_that_does_not_fit_says_what_to_do(entry: str, said: str) -> None:
    LOCK.write_text(f"site: {entry}\n")
    with pytest.raises(DoctuneError, match=said):
        locked(params("https://kubernetes.io"), LOCK)


# ---- addresses


@pytest.mark.parametrize(
    ("link", "found"),
    [
        ("https://kubernetes.io/docs/", ("en", "")),
        ("https://kubernetes.io/docs", ("en", "")),
        ("https://kubernetes.io/docs/index.html", ("en", "")),
        ("https://kubernetes.io/docs/concepts/pods/?page=2&session=9f#top", ("en", "concepts/pods")),
        ("https://kubernetes.io/docs/concepts/pods.html", ("en", "concepts/pods")),
        ("https://kubernetes.io/docs//concepts/./x/../pods/index.htm", ("en", "concepts/pods")),
        ("https://kubernetes.io/docs/concepts/pods;jsessionid=12AF/", ("en", "concepts/pods")),
        ("http://kubernetes.io/docs/concepts/pods", ("en", "concepts/pods")),
        ("https://KUBERNETES.IO:443/docs/concepts/pods", ("en", "concepts/pods")),
        ("https://kubernetes.io/zh-cn/docs/%E6%A6%82%E5%BF%B5/", ("zh", "概念")),
        ("https://kubernetes.io/zh-cn/docs/概念/", ("zh", "概念")),
        ("https://kubernetes.io/docs/v1.34/notes/", ("en", "v1.34/notes")),
        ("https://kubernetes.io/docsets/", None),
        ("https://kubernetes.io/fr/docs/", None),
        ("https://kubernetes.io/docs/../etc/", None),
        ("https://kubernetes.io/docs/%2e%2e/etc/", None),
        ("https://kubernetes.io:8443/docs/", None),
        ("https://me:secret@kubernetes.io/docs/", None),
        ("https://kubernetes.io.example.com/docs/", None),
        ("https://example.com/docs/?u=https://kubernetes.io/docs/", None),
        ("ftp://kubernetes.io/docs/", None),
        ("mailto:docs@kubernetes.io", None),
        ("https://[kubernetes.io/docs/", None),
        ("", None),
    ],
)
def test_which_links_are_pages_and_which_are_the_same(link: str, found: tuple[str, str] | None) -> None:
    place = K8S.locate(link)
    assert (place and tuple(place.key)) == found


def test_a_site_below_a_path_on_a_port() -> None:
    site = Site("http://127.0.0.1:8000/handbook/", DIRS)
    assert [root.url for root in site.roots()] == [
        "http://127.0.0.1:8000/handbook/docs/",
        "http://127.0.0.1:8000/handbook/zh-cn/docs/",
    ]
    assert site.locate("http://127.0.0.1:8000/handbook/docs/a/").name == "a"
    assert site.locate("http://127.0.0.1:8000/docs/a/") is None
    assert site.locate("https://127.0.0.1:8000/handbook/docs/a/") is None, "another port's scheme is another place"


_step = st.text(st.sampled_from("ab-1.中 é%"), min_size=1, max_size=5).filter(lambda step: step.strip(".") != "")


@settings(deadline=None)
@given(st.lists(_step, min_size=1, max_size=4), st.text(max_size=12), st.sampled_from(["", "/", "/index.html"]))
def test_locating_is_stable_and_blind_to_queries(steps: list[str], tail: str, spelling: str) -> None:
    path = "/".join(address.quote(step, "") for step in steps)
    place = K8S.locate(f"https://kubernetes.io/docs/{path}{spelling}?{tail}")
    assert place is not None and K8S.locate(place.url) == place
    assert K8S.locate(f"https://kubernetes.io/docs/{path}/").key == place.key


@pytest.mark.parametrize(
    ("name", "refusal"),
    [
        ("concepts/pods", None),
        ("a/a/a/b", None),
        ("a/a/a/a", "trap"),
        ("/".join("abcdefghijklmnopq"), "trap"),
        ("a\\b", "unsafe_path"),
        ("a\nb", "unsafe_path"),
    ],
)
def test_paths_without_end_are_not_followed(name: str, refusal: str | None) -> None:
    assert Address("en", name, "").refusal == refusal


def test_a_page_with_pages_below_it_is_its_folders_index() -> None:
    assert page_paths(["", "concepts", "concepts/pods", "tasks", "a/b/c"]) == {
        "": "_index.md",
        "a/b/c": "a/b/c.md",
        "concepts": "concepts/_index.md",
        "concepts/pods": "concepts/pods.md",
        "tasks": "tasks.md",
    }


# ---- HTML as Markdown


@pytest.mark.parametrize(
    ("content", "markdown"),
    [
        pytest.param('<h2 id="a-b">为 Pod\n定级</h2>', "## 为 Pod 定级 {#a-b}", id="heading"),
        pytest.param(
            '<section id="s"><h3>Limits</h3><p>x</p></section>', "### Limits {#s}\n\nx", id="section-names-it"
        ),
        pytest.param("<h2 id='50%'>Half</h2>", "## Half", id="no-anchor"),
        pytest.param("<p>节点\n负责<strong>运行</strong> Pod。</p>", "节点\n负责**运行** Pod。", id="lines-stay"),
        pytest.param(
            "<ul><li>a<ul><li>b</li><li><p>c</p><p>d</p></li></ul></li><li>e</li></ul>",
            "- a\n  - b\n  - c\n\n    d\n- e",
            id="nested-list",
        ),
        pytest.param('<ol start="9"><li>a</li><li>b<p>c</p></li></ol>', "9. a\n10. b\n\n    c", id="numbered-list"),
        pytest.param(
            '<li>a<div class="highlight"><pre><code class="language-yaml">k:\n\n\n  - v\n</code></pre></div></li>',
            "- a\n\n  ```yaml\n  k:\n\n\n    - v\n  ```",
            id="listing-in-item",
        ),
        pytest.param("<pre>```\nx\n```</pre>", "````\n```\nx\n```\n````", id="fence-in-listing"),
        pytest.param('<pre data-lang="go">a<br>b</pre>', "```go\na\nb\n```", id="breaks-in-listing"),
        pytest.param(
            "<table><tr><td><pre>1\n2</pre></td><td><pre>a\nb</pre></td></tr></table>".replace("<pre>1\n2</pre>", ""),
            "```\na\nb\n```",
            id="listing-in-table",
        ),
        pytest.param(
            "<table><thead><tr><th>键</th><th>值</th></tr></thead>"
            "<tbody><tr><td><code>a|b</code></td><td><p>x<br>y</p></td></tr></tbody></table>",
            "| 键 | 值 |\n| --- | --- |\n| `a\\|b` | x<br/>y |",
            id="table",
        ),
        pytest.param("<table><tr><td>a</td><td>b</td></tr></table>", "|  |  |\n| --- | --- |\n| a | b |", id="no-head"),
        pytest.param(
            "<table><caption>Ports</caption><tr><th>a</th></tr><tr><td>b</td></tr></table>",
            "Ports\n\n| a |\n| --- |\n| b |",
            id="caption",
        ),
        pytest.param(
            '<table class="x"><tr><td style="width: 3em"><p>第一段</p><p>第二段 <code>&lt;x&gt;</code></p></td></tr></table>',
            "<table>\n<tr>\n<td><p>第一段</p><p>第二段 <code>&lt;x&gt;</code></p></td>\n</tr>\n</table>",
            id="table-of-paragraphs",
        ),
        pytest.param("<dl><dt>Pod</dt><dd>一组容器</dd></dl>", "Pod\n:   一组容器", id="definitions"),
        pytest.param("<blockquote><p>a</p><p>b</p></blockquote>", "> a\n>\n> b", id="quote"),
        pytest.param("<p><code>a`b</code> <code>\n</code></p>", "`` a`b ``", id="code"),
        pytest.param("<p>x<sup>2</sup> y<sub>i</sub></p>", "x<sup>2</sup> y<sub>i</sub>", id="raised"),
        pytest.param(
            '<p><a href="../b/?x=1#c" title="long">t</a> <a href="#d">u</a> <a href="https://kubernetes.io/docs/">v</a></p>',
            "[t](/docs/b/?x=1#c) [u](#d) [v](/docs/)",
            id="links",
        ),
        pytest.param('<p><a href="javascript:x()">a</a><a href="#a"></a> <a name="n">b</a></p>', "a b", id="no-links"),
        pytest.param('<p><a href="/a b(c)">t</a></p>', "[t](/a%20b%28c%29)", id="odd-link"),
        pytest.param('<a href="/docs/c/"><h3>Card</h3><p>x</p></a>', "### Card\n\nx", id="link-around-blocks"),
        pytest.param(
            '<p><img src="p.png" alt="图" title="t"> <img src="data:image/png;x" alt="点"></p>',
            "![图](/docs/a/p.png) 点",
            id="images",
        ),
        pytest.param(
            '<div class="alert" role="alert"><h4 class="alert-heading">说明：</h4><p>先备份。</p></div>',
            "**说明：**\n\n先备份。",
            id="admonition",
        ),
        pytest.param("<details><summary>More</summary>text</details>", "More\n\ntext", id="details"),
        pytest.param(
            "<p>1. no\n- item\n# head\n| cell\n=== </p>",
            "1\\. no\n\\- item\n\\# head\n\\| cell\n\\===",
            id="line-starts",
        ),
        pytest.param("<p>a * b *c* _d_ e_f</p>", "a * b \\*c\\* \\_d\\_ e_f", id="stars"),
        pytest.param(
            "<p>&lt;pod&gt; 1 &lt; 2 &amp;amp; {{&lt; note &gt;}} [a](b) `c`</p>",
            "&lt;pod> 1 < 2 &amp;amp; &#123;{< note >}} [a\\](b) \\`c\\`",
            id="no-markup",
        ),
        pytest.param(
            "<p><em>1.</em> a<!-- hidden --> <strong>2. b</strong></p>", "*1.* a **2. b**", id="inside-a-line"
        ),
        pytest.param("", "", id="nothing"),
    ],
)
def test_html_as_markdown(content: str, markdown: str) -> None:
    assert to_markdown(content, "https://kubernetes.io/docs/a/", K8S) == markdown


WEB = params("https://kubernetes.io").web


def page(body: str | bytes, lang: str = "en", content_type: str = "text/html", web: WebParams = WEB, **said: str):
    raw = body if isinstance(body, bytes) else body.encode()
    return read_html(Answer("https://kubernetes.io/docs/a/", 200, raw, content_type, **said), lang, web, K8S)


def test_only_the_main_content_is_text() -> None:
    found = page(
        html(
            "节点",
            "<p>节点运行 Pod。</p><svg><title>x</title></svg><p hidden>y</p>",
            "zh-cn",
            nav='<a href="/docs/b/">b</a>',
        ),
        "zh",
    )
    assert found.text == '---\ntitle: "节点"\n---\n\n节点运行 Pod。\n'
    assert found.links == ("https://kubernetes.io/docs/b/",), "links are those of the whole page"


@pytest.mark.parametrize(
    ("body", "title"),
    [
        pytest.param(
            "<title>A</title><div class=td-content><h1>B <a class=headerlink href=#b>¶</a></h1>t", "B", id="heading"
        ),
        pytest.param("<title>A</title><h1>C ¶</h1><div class=td-content>t", "C", id="heading-outside"),
        pytest.param("<title>A - B - Handbook</title><div class=td-content>t", "A - B", id="window"),
        pytest.param('<div class=td-content><h1>say "yes": \\ 是</h1>t', 'say "yes": \\ 是', id="quoted"),
        pytest.param("<div class=td-content>t", "", id="none"),
    ],
)
def test_the_title_is_front_matter(body: str, title: str) -> None:
    from ruamel.yaml import YAML

    text = page(body).text
    assert YAML(typ="safe").load(text.split("---\n")[1]) == {"title": title}
    assert text.endswith("---\n\nt\n")


SPHINX = """<html lang="en"><body class="wy-body"><nav><a href="/">Home</a></nav><div role="main" class="document">
<div itemprop="articleBody"><section id="s"><h1>Pods<a class="headerlink" href="#s">¶</a></h1><p>A Pod.</p></section></div>
</div><footer>Made with Sphinx</footer></body></html>"""
DOCUSAURUS = """<html lang="en"><body><main><nav class="theme-doc-breadcrumbs">Docs</nav><article>
<div class="tocCollapsible">On this page</div><div class="theme-doc-markdown markdown"><header><h1>Pods</h1></header>
<p>A Pod.</p></div><footer>Edit this page</footer></article><nav class="pagination-nav">Next</nav></main></body></html>"""
MATERIAL = """<html lang="en"><body><div class="md-sidebar"><nav class="md-nav">Menu</nav></div><div class="md-content">
<article class="md-content__inner md-typeset"><h1 id="pods">Pods<a class="headerlink" href="#pods">¶</a></h1><p>A Pod.</p>
<form class="md-feedback">Helpful?</form></article></div></body></html>"""
GITHUB = """<html lang="en-US"><body><div class="wrapper"><header><h1>My site</h1></header><section class="markdown-body">
<h1>Pods</h1><p>A Pod.</p></section></div></body></html>"""
PLAIN = "<html lang=en><header>Site</header><main><h1>Pods</h1><p>A Pod.</p></main><footer>(c)</footer></html>"


@pytest.mark.parametrize(
    "body", [SPHINX, DOCUSAURUS, MATERIAL, GITHUB, PLAIN], ids=["sphinx", "docusaurus", "material", "github", "plain"]
)
def test_the_knobs_of_the_presets_know_the_usual_themes(body: str) -> None:
    section = read_yaml(Path(__file__).parents[1] / "presets/embedded.yaml")["crawl"]["web"]
    assert page(body, web=validate(WebParams, section, "")).text == '---\ntitle: "Pods"\n---\n\nA Pod.\n'


@pytest.mark.parametrize(
    ("body", "lang", "reason"),
    [
        pytest.param(html("A", PODS), "en", "", id="a-page"),
        pytest.param(html("A", PODS, ""), "zh", "", id="no-language-said"),
        pytest.param(html("A", PODS), "zh", "other_language", id="english-fallback"),
        pytest.param(
            html("A", PODS, head='<meta name="robots" content="noindex, follow">'), "en", "noindex", id="noindex"
        ),
        pytest.param("<html lang=en><p>x</p>", "en", "no_main_content", id="no-content"),
        pytest.param("<div>" * 2000 + "x", "en", "too_deep", id="deep"),
        pytest.param(b"\xff\xfe" + ("<div>" * 2000).encode("utf-16-le"), "en", "too_deep", id="deep-in-utf-16"),
        pytest.param("<div class=td-content>" + "<br>" * 100_001, "en", "too_big", id="many-tags"),
        pytest.param("<div class=td-content>" + "<span>" * 2000, "en", "too_deep", id="deep-in-text"),
        pytest.param(b"<div class=td-content>\xff\xfe\xfd", "en", "undecodable", id="no-text"),
        pytest.param(b"", "en", "no_main_content", id="empty"),
    ],
)
def test_what_is_no_page_has_a_reason(body: str | bytes, lang: str, reason: str) -> None:
    assert page(body, lang).reason == reason


def test_a_page_may_forbid_its_links() -> None:
    body = html(
        "A", '<a href="/docs/b/">b</a> <a href="/docs/c/" rel="nofollow">c</a> <a href="https://example.com/">d</a>'
    )
    assert page(body).links == ("https://kubernetes.io/docs/b/",)
    assert page(body, robots="nofollow").links == ()


@pytest.mark.parametrize(
    ("declared", "lang", "is_so"),
    [
        ("", "zh", True),
        ("zh-CN", "zh", True),
        ("zh_Hans", "zh", True),
        ("zh-TW", "zh", False),
        ("zh-Hant-HK", "zh", False),
        ("en-US", "en", True),
        ("eng", "en", False),
        ("fr", "en", False),
    ],
)
def test_languages(declared: str, lang: str, is_so: bool) -> None:
    assert speaks(declared, lang) is is_so


CJK = "<html lang=zh><div class=td-content><p>容器镜像</p></div>"


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        pytest.param(CJK.encode("gb18030"), "text/html; charset=gb2312", id="header"),
        pytest.param(CJK.encode("utf-8"), 'text/html; charset="UTF-8"', id="quoted"),
        pytest.param(b'<meta charset="gbk">' + CJK.encode("gb18030"), "text/html", id="meta"),
        pytest.param(
            b'<meta http-equiv=content-type content="text/html; charset=big5">'
            + CJK.encode("big5", "replace").replace(b"?", "容".encode("big5")),
            "text/html; charset=utf-8-nonsense",
            id="unknown-label",
        ),
        pytest.param(b"\xff\xfe" + CJK.encode("utf-16-le"), "text/html; charset=utf-8", id="byte-order-mark"),
        pytest.param(CJK.encode(), "text/html", id="nothing-said"),
    ],
)
def test_encodings(body: bytes, content_type: str) -> None:
    found = page(body, "zh", content_type)
    if "nonsense" in content_type:
        assert found.reason == "undecodable", "an unknown label is read as UTF-8, which this is not"
    else:
        assert found.text.endswith("\n容器镜像\n")


_PIECES = [
    "<div class=td-content>",
    "</div>",
    "<table>",
    "<tr>",
    "<td colspan=2>",
    "</table>",
    "<ul>",
    "<li>",
    "</ul>",
    "<ol start=x>",
    "<pre>",
    "</pre>",
    "<p>",
    "节点",
    "*_`[](",
    "<a href='/docs/b/'>",
    "</a>",
    "<h1>",
    "<h2 id=x>",
    "<nav>",
    "<template>",
    "<!--",
    "-->",
    "&#0;",
    "\x00",
    "<svg><p>",
    "<raw-html>",
    "<br>",
    "<meta http-equiv=refresh content='0;url=x'>",
    "<base href='http://['>",
    "<caption>",
    "\ufeff",
    "<dl><dt>",
    "<dd>",
    "<img src=data:x>",
    "<span class=alert-heading>",
    "\u2028",
    "<li",
]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(_PIECES), max_size=25).map("".join))
def test_no_page_is_too_odd(body: str) -> None:
    found = page(f"<div class=td-content>{body}")
    assert bool(found.text) != bool(found.reason or found.leads_to)
    assert "\0" not in found.text and found.text.count("\n---\n") <= 1 + body.count("<hr")
    Document(found.text).blocks()


# ---- sitemaps


@pytest.mark.parametrize(
    ("data", "urls", "sitemaps", "problem"),
    [
        pytest.param(b"<urlset><url><loc> a </loc></url><url><loc>b</loc><link hreflang='zh' href='c'/></url></urlset>", ["a", "b", "c"], [], "", id="urlset"),
        pytest.param(b"<sitemapindex><sitemap><loc>a</loc></sitemap></sitemapindex>", [], ["a"], "", id="index"),
        pytest.param(gzip.compress(b"<urlset><url><loc>a</loc></url></urlset>"), ["a"], [], "", id="gzip"),
        pytest.param(gzip.compress(b"<urlset><url><loc>a</loc></url></urlset>" + os.urandom(99))[:-40], ["a"], [], "broken", id="cut-off-gzip"),
        pytest.param(b"\x1f\x8bno", [], [], "not_gzip", id="no-gzip"),
        pytest.param(b"https://a/\r\n\r\nhttps://b/\n", ["https://a/", "https://b/"], [], "", id="list"),
        pytest.param(b"<urlset><url><loc>a</loc></url><url><lo", ["a"], [], "broken", id="cut-off"),
        pytest.param(b"<html><loc>a</loc></html>", [], [], "no_sitemap", id="a-page"),
        pytest.param(b"", [], [], "no_sitemap", id="empty"),
        pytest.param(b"<!DOCTYPE urlset [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><urlset><url><loc>&x;</loc></url></urlset>", [], [], "", id="entity"),
    ],
)  # fmt: skip
def test_sitemaps(data: bytes, urls: list[str], sitemaps: list[str], problem: str) -> None:
    found = read_sitemap(data)
    assert (found.urls, found.sitemaps, found.problem) == (urls, sitemaps, problem)


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                b"<urlset>",
                b"<url>",
                b"<loc>",
                b"a",
                b"</loc>",
                b"<?xml encoding='x'?>",
                b"\x00",
                b"&a;",
                b"<!--",
                b"\x1f\x8b",
            ]
        )
    ).map(b"".join)
)
def test_no_sitemap_is_too_odd(data: bytes) -> None:
    found = read_sitemap(data)
    assert found.sitemaps == [] and len(found.urls) <= data.count(b"<loc>")


# ---- the crawl


def test_the_example_site_comes_back_as_it_was_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Paths, and the text of 98 in 100 blocks, are those of the repository; only shortcodes and emphasis look otherwise."""
    monkeypatch.setattr(crawl, "PROGRESS_SECONDS", 0.0)
    with serve(example()) as site:
        pages, report = read(params(site.url))
    said = capsys.readouterr().err
    sources = {lang: website.EXAMPLE / folder / "docs" for lang, folder in (("en", "en"), ("zh", "zh-cn"))}
    wanted = {
        f"{lang} {file.relative_to(root).as_posix()}" for lang, root in sources.items() for file in root.rglob("*.md")
    }
    assert set(names(pages)) == wanted
    assert (report["source"], report["pages"], report["pages_on_both_sides"]) == ("web", {"en": 38, "zh": 38}, 38)
    assert report["skipped"] == {"en": {}, "zh": {}} and report["bad_sitemaps"] == []
    assert f"doctune: {site.url}: 76 of 76 known pages done" in said

    seen = same = 0
    for found in pages:
        source = Document((sources[found.lang] / found.path).read_text(encoding="utf-8"))
        assert f'title: "{re.search("^title: (.*)$", source.source, re.M)[1]}"' in found.text
        before = Counter(
            flatten(plain(block.text, found.lang), found.lang) for block in source.blocks() if block.kind in TEXT_KINDS
        )
        after = Counter(
            flatten(block.text, found.lang) for block in Document(found.text).blocks() if block.kind in TEXT_KINDS
        )
        for label in ("**Note:**", "**Caution:**", "**说明：**", "**注意：**"):
            del after[label]
        seen += max(before.total(), after.total())
        same += (before & after).total()
    assert seen > 3000 and same / seen >= 0.98, f"{same} of {seen} blocks are the same"


def plain(text: str, lang: str) -> str:
    """A block of the example with its shortcodes as the theme shows them, and emphasis as markdownify writes it."""
    folder = "zh-cn" if lang == "zh" else "en"
    text = re.sub(r"{{% heading \"(\w+)\" %}}", lambda said: website.LABELS[said[1]][folder], text)
    link = rf"[\2](/{website.ROOTS[folder]}/reference/glossary/?all=true#term-\1)"
    text = re.sub(r"{{< glossary_tooltip term_id=\"([^\"]*)\" text=\"([^\"]*)\" >}}", link, text)
    return re.sub(r"(?<![\w`])_([^_`]+)_(?!\w)", r"*\1*", text)


def test_a_second_crawl_only_asks_what_changed(site: WebSite, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = params(site.url)
    pages, report = read(wanted)
    parsed: list[str] = []
    monkeypatch.setattr(crawl, "read_html", lambda found, *rest: parsed.append(found.url) or read_html(found, *rest))
    assert names(pages) == SMALL_PAGES and LOCK.read_text().startswith("site:\n  web: http")
    before, revision = LOCK.read_bytes(), report["revision"]
    site.forget()
    assert read(wanted) == (pages, report) and LOCK.read_bytes() == before
    got = [asked for asked in site.asked if asked.status != 404]
    assert len(got) == 6 and {(asked.status, asked.conditional) for asked in got} == {(304, True)}

    site.put(POD_ZH, html("Pod", PODS_ZH, "zh-cn"))
    site.forget()
    moved, report = read(wanted)
    assert [asked.path for asked in site.asked if asked.status == 200] == [POD_ZH]
    assert parsed == [f"{site.url}{POD_ZH}"], "only a page that changed is parsed again"
    assert [old.text == new.text for old, new in zip(pages, moved, strict=True)] == [True] * 5 + [False]
    assert report["revision"] != revision and {page.revision for page in moved} == {report["revision"]}


def test_what_stands_around_the_content_moves_nothing(site: WebSite) -> None:
    wanted = params(site.url)
    _, report = read(wanted)
    site.put(POD, example(*SMALL)[POD].replace("yesterday", "today").replace("Handbook", "Manual"))
    assert read(wanted)[1] == report


@pytest.mark.parametrize(
    ("faults", "asked", "waited"),
    [
        pytest.param([status(429, Retry_After="7")], [429, 200], [7.0], id="busy"),
        pytest.param([status(503, Retry_After="Thu, 01 Jan 2026 00:01:40 GMT")], [503, 200], [100.0], id="busy-until"),
        pytest.param([status(503, Retry_After="soon")], [503, 200], [1.0], id="busy-for-nobody-knows-how-long"),
        pytest.param([status(500), status(502)], [500, 502, 200], [1.0, 2.0], id="server-errors"),
        pytest.param([cut_off, cut_off_chunks], [200, 200, 200], [1.0, 2.0], id="cut-off"),
        pytest.param([hang_up], [0, 200], [1.0], id="hung-up"),
    ],
)
def test_what_may_pass_is_tried_again(
    site: WebSite,
    waits: list[float],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    faults: list[website.Fault],
    asked: list[int],
    waited: list[float],
) -> None:
    monkeypatch.setattr(client, "now", lambda: 1767225600.0)  # the year 2026 begins
    site.faults[POD] = list(faults)
    pages, _ = read(params(site.url))
    assert names(pages) == SMALL_PAGES
    assert [code for code in site.requests(POD)] == asked
    backed_off = [wait for wait in waits if wait >= 0.5]
    assert len(backed_off) == len(waited) and all(
        0 <= made - least < 2.5 for made, least in zip(backed_off, waited, strict=True)
    )
    assert f"reading {site.url}{POD} failed (attempt 1 of 4)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("limit", "seconds", "fault", "said"),
    [
        pytest.param("TIMEOUT", 1.0, silent, "no whole answer from .*timed out", id="silent"),
        pytest.param("MOST_SECONDS", 0.5, drip(1.5), "was not read within", id="dripping"),
    ],
)
def test_nobody_is_waited_for_without_end(
    site: WebSite,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    limit: str,
    seconds: float,
    fault: website.Fault,
    said: str,
) -> None:
    monkeypatch.setattr(client, limit, seconds)
    site.faults[POD] = [fault]
    assert names(read(params(site.url))[0]) == SMALL_PAGES
    assert site.requests(POD)[0] == fault.status and site.requests(POD)[-1] == 200
    assert re.search(rf"reading {site.url}{POD} failed \(attempt 1 of 4\): .*{said}", capsys.readouterr().err)


def test_a_page_that_stays_broken_fails_the_update_and_is_all_that_the_next_one_asks_for(site: WebSite) -> None:
    wanted = params(site.url)
    site.faults[POD] = [status(500)] * 4
    site.faults[POD_ZH] = [status(403)]
    with pytest.raises(
        DoctuneError, match=r"got 2 that stayed broken: \S+/docs/concepts/pods/, \S+; the first: .* answered 500"
    ) as caught:
        update(wanted, LOCK)
    assert "\n" not in str(caught.value) and not LOCK.exists()
    assert (site.requests(POD), site.requests(POD_ZH)) == ([500] * 4, [403]), "a refusal is not asked again"
    site.forget()
    assert names(read(wanted)[0]) == SMALL_PAGES
    assert [asked.path for asked in site.asked] == [POD, POD_ZH], "the rest was read already"


def test_a_site_that_is_down_is_left_alone(site: WebSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crawl, "MOST_BROKEN", 2)
    for path in site.pages:
        site.faults[path] = [status(503)] * 4
    with pytest.raises(DoctuneError, match=r"got 2 that stayed broken \(and stopped there\)"):
        update(params(site.url), LOCK)


def test_a_long_retry_after_ends_the_crawl(site: WebSite, waits: list[float]) -> None:
    site.faults[POD] = [status(429, Retry_After="86400")]
    with pytest.raises(DoctuneError, match="asks to be left alone for 86400 s; run again after that"):
        update(params(site.url), LOCK)
    assert max(waits, default=0) < 1 and site.requests(POD) == [429]


def test_nobody_there() -> None:
    with pytest.raises(Transient, match="no whole answer from http://127.0.0.1:9/robots.txt"):
        update(params("http://127.0.0.1:9"), LOCK)


def test_a_page_that_is_no_page_is_counted(site: WebSite) -> None:
    """One address for every reason; what a reader sees stays six pages and the target of a redirect."""
    other = "http://192.0.2.1/docs/concepts/pods/"
    kinds: dict[str, Any] = {
        "/docs/gone/": None,
        "/docs/file.pdf": (b"%PDF", "application/pdf"),
        "/docs/big/": (html("Big", "x" * 2_000_000), "text/html"),
        "/docs/french/": (html("Pod", PODS, "fr"), "text/html"),
        "/docs/bare/": ("<p>nothing else</p>", "text/html"),
        "/docs/print/": (html("All", PODS, head='<meta name="robots" content="noindex">'), "text/html"),
        "/docs/latin/": ("né".encode("latin-1"), "text/html"),
        "/docs/copy/": (html("Pod", PODS, head=f'<link rel="canonical" href="{site.url}{POD}">'), "text/html"),
        "/docs/alias/": (f'<meta http-equiv="refresh" content="0; url={POD}">', "text/html"),
        "/docs/a/a/a/a/": (html("A", PODS), "text/html"),
        "/docs/secret/x/": (html("A", PODS), "text/html"),
    }
    for path, reply in kinds.items():
        if reply:
            site.put(path, reply[0], reply[1])
    site.put("/docs/new/", html("New", PODS))
    redirects = {
        "/docs/old/": "/docs/new/",
        "/docs/away/": other,
        "/docs/to-zh/": POD_ZH,
        "/docs/out/": "/blog/",
        "/docs/loop-1/": "/docs/loop-2/",
        "/docs/loop-2/": "/docs/loop-1/",
        "/docs/self/": "/docs/self/?again=1",
        "/docs/self/?again=1": "/docs/self/",
    } | {f"/docs/hop-{n}/": f"/docs/hop-{n + 1}/" for n in range(9)}
    for path, target in redirects.items():
        site.redirect(path, target, 302)
    site.put("/robots.txt", "User-agent: *\nDisallow: /docs/secret/\n", "text/plain")
    linked = [path for path in [*kinds, *redirects] if not re.search(r"hop-[1-9]|\?", path)]
    site.put(
        "/docs/", html("Docs", "".join(f'<p><a href="{path}">x</a></p>' for path in [POD, "/docs/concepts/", *linked]))
    )
    pages, report = read(params(site.url))
    assert names(pages) == sorted([*SMALL_PAGES, "en new.md"])
    assert reasons(report) == {
        "en gone": "gone",
        "en file.pdf": "not_html",
        "en big": "too_big",
        "en french": "other_language",
        "en bare": "no_main_content",
        "en print": "noindex",
        "en latin": "undecodable",
        "en copy": "duplicate",
        "en alias": "moved",
        "en a/a/a/a": "trap",
        "en secret/x": "disallowed",
        "en old": "moved",
        "en away": "redirected_away",
        "en to-zh": "redirected_away",
        "en out": "redirected_away",
        "en loop-1": "redirect_loop",
        "en loop-2": "redirect_loop",
        "en self": "redirect_loop",
        **{f"en hop-{n}": "moved" for n in range(5)},
        "en hop-5": "too_many_redirects",
    }
    assert report["skipped"]["en"]["moved"] == 7 and report["skipped"]["zh"] == {}
    assert (
        not site.requests("/docs/secret/x/")
        and not site.requests("/docs/a/a/a/a/")
        and not site.requests("/docs/hop-6/")
    )
    assert len(site.requests("/docs/new/")) == 1, "found by two ways, read once"


def test_spellings_of_one_page_are_asked_for_once(site: WebSite) -> None:
    links = [
        "pods/#a",
        "pods?utm=1",
        "pods/index.html",
        "/docs/concepts/pods;jsessionid=1",
        f"{site.url}{POD}?day=2031-01-01",
    ]
    site.put("/docs/concepts/", html("Concepts", "".join(f'<a href="{link}">x</a>' for link in links)))
    site.put("/docs/", html("Docs", '<a href="/docs/concepts">x</a>'))
    site.redirect("/docs/concepts", "/docs/concepts/")
    pages, report = read(params(site.url))
    assert names(pages) == SMALL_PAGES and reasons(report) == {}
    asked = [row.path for row in site.asked]
    assert len(asked) == len(set(asked)) and {"/docs/concepts", "/docs/concepts/", POD} <= set(asked)


def test_two_pages_that_name_each_other_as_canonical_are_both_kept(site: WebSite) -> None:
    for one, two in (("a", "b"), ("b", "a"), ("c", "gone")):
        site.put(f"/docs/{one}/", html(one, PODS, head=f'<link rel="canonical" href="/docs/{two}/">'))
    site.put("/docs/", html("Docs", '<a href="/docs/a/">a</a> <a href="/docs/c/">c</a>'))
    pages, report = read(params(site.url, name="pair", target_dir="zh-cn/docs"))
    assert {"en a.md", "en b.md", "en c.md"} <= set(names(pages)) and reasons(report) == {"en gone": "gone"}


def test_no_other_host_is_ever_asked(site: WebSite) -> None:
    with serve(example(*SMALL)) as other:
        site.redirect("/docs/away/", f"{other.url}/docs/")
        site.put("/robots.txt", f"Sitemap: {other.url}/sitemap.xml\nSitemap: {site.url}/sitemap.xml\n", "text/plain")
        site.sitemap("/sitemap.xml", [f"{other.url}/docs/x/", f"{site.url}/docs/away/", f"{site.url}/admin/"])
        site.put(
            "/docs/",
            html(
                "Docs",
                f'<a href="{other.url}/docs/y/">y</a><a href="//{other.url[7:]}/docs/z/">z</a><a href="{POD}">p</a>',
            ),
        )
        site.put(POD, html("Pods", '<a href="/docs/v/">v</a>', head=f'<base href="{other.url}/">'))
        _, report = read(params(site.url, name="alone"))
        assert other.asked == [] and not site.requests("/admin/")
    assert report["bad_sitemaps"] == [{"url": f"{other.url}/sitemap.xml", "problem": "elsewhere"}]
    assert reasons(report) == {"en away": "redirected_away"}


@pytest.mark.parametrize(
    ("robots", "files", "problems"),
    [
        pytest.param(None, {"/sitemap.xml": "urls"}, [], id="usual-place"),
        pytest.param("Sitemap: {url}/maps/all.xml", {"/maps/all.xml": "index", "/maps/en.xml": "urls"}, [], id="index"),
        pytest.param(None, {"/docs/sitemap.xml": "urls"}, [], id="of-the-language"),
        pytest.param(
            "Sitemap: {url}/a.xml\nSitemap: {url}/b.xml",
            {"/a.xml": "broken", "/b.xml": "urls"},
            ["/a.xml: broken"],
            id="broken",
        ),
        pytest.param("Sitemap: {url}/a.xml", {"/docs/sitemap.xml": "urls"}, ["/a.xml: gone"], id="gone"),
        pytest.param(None, {"/sitemap.xml": "urls, cut off"}, ["/sitemap.xml: broken"], id="cut-off"),
    ],
)
def test_sitemaps_name_pages_that_nothing_links_to(
    site: WebSite, capsys: pytest.CaptureFixture[str], robots: str | None, files: dict[str, str], problems: list[str]
) -> None:
    site.put("/docs/lonely/", html("Lonely", PODS))
    for path, kind in files.items():
        if kind == "index":
            site.sitemap(path, [f"{site.url}/maps/en.xml", f"{site.url}/maps/all.xml"], index=True)
        elif kind == "broken":
            site.put(path, "<urlset><url><loc>", "application/xml")
        else:
            site.sitemap(path, [f"{site.url}/docs/lonely/", f"{site.url}/blog/"])
            if "cut off" in kind:
                site.pages[path].body = site.pages[path].body[:-20]
    if robots:
        site.put("/robots.txt", robots.format(url=site.url), "text/plain")
    pages, report = read(params(site.url))
    assert "en lonely.md" in names(pages) and not site.requests("/blog/")
    assert [f"{row['url'].removeprefix(site.url)}: {row['problem']}" for row in report["bad_sitemaps"]] == problems
    assert capsys.readouterr().err.count("could not use the sitemap") == len(problems)


def test_the_rate_is_kept_and_robots_may_lower_it(
    site: WebSite, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "clock", lambda: sum(waits))  # only pauses take time
    wanted = params(site.url, web={"rate": 0.5})
    read(wanted)
    assert waits == [2.0] * (len(site.asked) - 1)
    site.put("/robots.txt", "User-agent: doctune\nCrawl-delay: 40\n\nUser-agent: *\nDisallow: /\n", "text/plain")
    waits.clear()
    site.forget()
    read(wanted)
    assert waits == [2.0] + [40.0] * (len(site.asked) - 2), "from the request after robots.txt on"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        pytest.param(500, "robots.txt answered 500", id="server-error"),
        pytest.param(501, "robots.txt answered 501", id="server-error-of-the-lasting-sort"),
        pytest.param(530, "robots.txt answered 530", id="server-error-outside-the-standard"),
        pytest.param(403, None, id="forbidden"),
        pytest.param(404, None, id="missing"),
        pytest.param(301, None, id="led-elsewhere"),
    ],
)
def test_rules_that_cannot_be_read_forbid_all_and_none_allow_all(site: WebSite, code: int, said: str | None) -> None:
    site.faults["/robots.txt"] = [status(code, Location="http://192.0.2.1/robots.txt")] * 4
    if said:
        with pytest.raises(DoctuneError, match=said):
            update(params(site.url), LOCK)
        assert {asked.path for asked in site.asked} == {"/robots.txt"}
    else:
        assert names(read(params(site.url))[0]) == SMALL_PAGES


def test_a_site_with_more_pages_than_wanted_stops_the_crawl(site: WebSite) -> None:
    with pytest.raises(DoctuneError, match=r"wanted at most 4 pages \(crawl.web.max_pages\)"):
        update(params(site.url, web={"max_pages": 4}), LOCK)
    assert not LOCK.exists()


def test_a_site_without_a_page_in_both_languages_is_refused(site: WebSite) -> None:
    with pytest.raises(DoctuneError, match=r"got none: 0 below /docs and 0 below /zh-cn/docs .*en no_main_content: 3"):
        update(params(site.url, web={"content": [".other"]}), LOCK)
    with pytest.raises(DoctuneError, match="3 below /docs and 0 below /fr/docs .*zh gone: 1"):
        update(params(site.url, target_dir="fr/docs"), LOCK)
    assert not LOCK.exists()


def test_a_site_that_moved_to_https_says_so(tmp_path: Path) -> None:
    """All answers lie in the memo, so nobody is asked."""
    memo = Memo(tmp_path / "memo")
    memo.begin()
    origin = "http://docs.invalid"
    for path in ("/robots.txt", "/sitemap.xml", "/docs/sitemap.xml", "/zh-cn/sitemap.xml"):
        memo.keep(Answer(f"{origin}{path}", 404))
    memo.keep(Answer(f"{origin}/docs/", 301, location="https://docs.invalid/docs/"))
    with (
        Client(1.0) as http,
        pytest.raises(DoctuneError, match="moved to https; set crawl.url to https://docs.invalid"),
    ):
        crawl.take_snapshot(params(origin), memo, http)


# ---- the memo


CRAWLER = """
import sys
from doctune.section import read_yaml, validate
from doctune.sources import CrawlParams
from doctune.sources.web import crawl_site
crawl_site(validate(CrawlParams, __import__("json").loads(sys.argv[1]), ""))
"""


def test_a_killed_crawl_goes_on_where_it_was(tmp_path: Path) -> None:
    let_go = threading.Event()
    with serve(example(*SMALL, *(f"tasks/{name}.md" for name in ("_index", "debug-pods", "backup-etcd")))) as site:
        wanted = params(site.url)
        last = sorted(site.pages)[-1]
        site.faults[last] = [website.Fault(0, lambda handler: let_go.wait(30) and None)]
        command = [sys.executable, "-c", CRAWLER, json.dumps(wanted.model_dump())]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
        process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while not site.requests(last) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        let_go.set()
        before = Counter(asked.path for asked in site.asked)
        assert before[last] == 1 and len(before) >= 12
        site.forget()
        pages, report = read(wanted)
        again = {asked.path for asked in site.asked} & (before.keys() - {last})
        assert again == set(), "nothing that was answered is asked again"
        assert len(pages) == 12
        shutil.rmtree(".doctune")
        assert read(wanted) == (pages, report), "the same as in one go"


def test_a_crawl_that_was_cut_short_long_ago_begins_anew(site: WebSite, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = params(site.url)
    site.faults[POD] = [status(403)]
    with pytest.raises(DoctuneError, match="stayed broken"):
        update(wanted, LOCK)
    site.forget()
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + RESUME_SECONDS)
    read(wanted)
    assert Counter(asked.status for asked in site.asked) == {304: 5, 200: 1, 404: 4}


DAMAGE = {
    "empty": lambda data: b"",
    "cut": lambda data: data[: len(data) // 2],
    "one-bit": lambda data: data[:-9] + bytes([data[-9] ^ 1]) + data[-8:],
    "other": lambda data: b'{"url": 1}\n' + gzip.compress(b"[]"),
}


@pytest.mark.parametrize("kind", ["answers", "extracts", "texts", "snapshots"])
def test_a_damaged_memo_is_made_anew(site: WebSite, kind: str) -> None:
    wanted = params(site.url)
    before = read(wanted)
    [memo] = [path for path in module.MEMOS.iterdir() if path.is_dir()]
    for how in list(DAMAGE) if kind == "snapshots" else [""]:
        for file, damage in zip((memo / kind).iterdir(), itertools.cycle([how] if how else DAMAGE)):
            file.write_bytes(DAMAGE[damage](file.read_bytes()))
        assert read_pages(wanted, locked(wanted, LOCK)) == before
    assert read(wanted) == before
    files = sorted((memo / kind).iterdir())
    first = files[0].read_bytes()
    for file, other in itertools.pairwise([*files, None]):
        file.write_bytes(other.read_bytes() if other else first)  # each has the name of the next one
    assert read(wanted) == before


def test_the_stage_reads_the_locked_snapshot_and_nothing_else(site: WebSite) -> None:
    wanted = params(site.url)
    old = read(wanted)
    entry = locked(wanted, LOCK)
    site.put(POD, html("Pods", PODS))
    new = read(wanted)
    assert new != old
    site.forget()
    assert read_pages(wanted, entry) == old, "an older lock still has its pages"
    assert read_pages(wanted, locked(wanted, LOCK)) == new
    assert site.asked == []
    [memo] = [path for path in module.MEMOS.iterdir() if path.is_dir()]
    snapshots = {at: memo / "snapshots" / f"{at}.json.gz" for at in (old[1]["revision"], new[1]["revision"])}
    snapshots[old[1]["revision"]].write_bytes(snapshots[new[1]["revision"]].read_bytes())
    with pytest.raises(DoctuneError, match="as it was at revision"):
        read_pages(wanted, entry)


def test_another_machine_crawls_and_must_find_the_same(site: WebSite) -> None:
    wanted = params(site.url)
    before = read(wanted)
    shutil.rmtree(".doctune")
    site.forget()
    assert read_pages(wanted, locked(wanted, LOCK)) == before
    assert site.asked
    shutil.rmtree(".doctune")
    site.put(POD, html("Pods", PODS))
    with pytest.raises(
        DoctuneError, match=r"wanted \S+ as it was at revision \w{12}, got \w{12}.*run `doctune source update`"
    ) as caught:
        read_pages(wanted, locked(wanted, LOCK))
    assert "\n" not in str(caught.value)
    assert read(wanted)[1]["revision"] != before[1]["revision"]


def test_a_snapshot_of_other_knobs_is_refused(site: WebSite) -> None:
    read(params(site.url))
    other = params(site.url, web={"leave_out": [".alert"]})
    with pytest.raises(DoctuneError, match="one with another leave_out; run `doctune source update`"):
        read_pages(other, locked(other, LOCK))
    slower = params(site.url, web={"rate": 1.0, "max_pages": 7})
    assert len(read_pages(slower, locked(slower, LOCK))[0]) == 6, (
        "how fast a site is read says nothing of what it holds"
    )


def test_one_process_at_a_time(site: WebSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOCK_SECONDS", 0)
    read(params(site.url))
    [lock] = module.MEMOS.glob("*.lock")
    with hold(lock, "to test"), pytest.raises(DoctuneError, match="wanted to crawl http://127.0.0.1"):
        update(params(site.url), LOCK)


def test_newer_code_or_other_knobs_read_the_same_answers_anew(site: WebSite, monkeypatch: pytest.MonkeyPatch) -> None:
    read(params(site.url))
    site.forget()
    pages, _ = read(params(site.url, web={"leave_out": ["p"]}))
    assert {asked.status for asked in site.asked} == {304, 404} and "Pod" not in pages[2].text.partition("---\n\n")[2][
        :3
    ]
    monkeypatch.setattr(crawl, "_LIBRARIES", ("selectolax",))
    made = []
    monkeypatch.setattr(crawl, "read_html", lambda *args: made.append(args) or read_html(*args))
    read(params(site.url, web={"leave_out": ["p"]}))
    assert len(made) == 6


def test_the_crawl_stage_writes_pages_and_report(site: WebSite, tmp_path: Path) -> None:
    from ruamel.yaml import YAML

    from tasks.crawl import main

    wanted = params(site.url)
    update(wanted, LOCK)
    with open("params.yaml", "w", encoding="utf-8") as file:
        YAML().dump({"crawl": wanted.model_dump()}, file)
    main(LOCK, Path("data/pages.parquet"), Path("data/since.parquet"), Path("reports/crawl.json"))
    assert names(load_pages(Path("data/pages.parquet"))) == SMALL_PAGES
    assert read_json(Path("reports/crawl.json"))["web"] == site.url


def test_it_says_its_name_and_keeps_no_cookies(site: WebSite) -> None:
    heard: list[dict[str, str]] = []

    def listen(handler: Any) -> None:
        heard.append(dict(handler.headers))
        said = {"Content-Type": "text/html", "Set-Cookie": "session=1; Path=/"}
        website.answer(handler, 200, html("Pods", PODS, "").encode(), said)

    for path in (POD, POD_ZH):
        site.faults[path] = [website.Fault(200, listen)]
    assert names(read(params(site.url))[0]) == SMALL_PAGES
    assert len(heard) == 2 and all(headers["User-Agent"].startswith("doctune") for headers in heard)
    assert not any("Cookie" in headers or "Authorization" in headers for headers in heard)
