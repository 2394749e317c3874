"""The main content of a page, from HTML to the Markdown that the rest of doctune reads (by markdownify).

    to_markdown("<h2 id='limits'>Limits</h2><p>A <code>Pod</code> has\\nlimits.</p>", "https://kubernetes.io/docs/", site)
    # "## Limits {#limits}\\n\\nA `Pod` has\\nlimits."

Lines stay as they are in the HTML, so that Chinese is joined as in a page from a repository. Only what Markdown, Hugo
or HTML would read as markup is escaped. A table is one of pipes where each cell is a line of text, and stays HTML where
one holds more than that. Links within the site lose its address (`/docs/concepts/`), others stay as they are.
"""

import html
import re
from typing import TYPE_CHECKING, Any

import markdownify

from doctune.sources.web.address import Site, join

if TYPE_CHECKING:
    from bs4 import BeautifulSoup, Tag

_MARKUP = (  # what would be read as markup anywhere in a text
    (re.compile(r"\\(?=[!-/:-@\[-`{-~])"), r"\\\\"),
    (re.compile(r"&(?=#?\w+;)"), "&amp;"),
    (re.compile(r"<(?=[A-Za-z/!?])"), "&lt;"),
    (re.compile(r"\{(?=\{[<%])"), "&#123;"),
    (re.compile(r"`"), r"\\`"),
    (re.compile(r"\](?=[(\[])"), r"\\]"),
    (re.compile(r"(?<!\s)\*|\*(?!\s)"), r"\\*"),
    (re.compile(r"(?<![^\W_])_|_(?![^\W_])"), r"\\_"),
)
_AT_START = re.compile(
    r"^(?:(\d{1,9})(?=[.)](?:\s|$))|(?=(?:#{1,6}|[-+*:])(?:\s|$)|[|>]|(?:=+|-{2,}|~{3,})\s*$))", re.M
)
_BLOCKS = ["p", "div", "ul", "ol", "dl", "pre", "table", "blockquote", "section", "hr", *(f"h{n}" for n in range(1, 7))]
_KEPT_IN_TABLES = re.compile(
    "table|thead|tbody|tfoot|tr|th|td|p|ul|ol|li|dl|dt|dd|pre|code|strong|em|b|i|a|br|sub|sup|kbd|hr"
)
_LINES = re.compile("table|thead|tbody|tfoot|tr|ul|ol")  # whose children stand on lines of their own
_LABELS = ".alert-heading, .admonition-title, .callout-title"
_LANGUAGE = re.compile(r"(?:language|lang|highlight|brush)-([\w+#.]+)")
_LINKED = re.compile(r"(?:https?:|mailto:|#|/)")


def to_markdown(content: str, base: str, site: Site) -> str:
    """Markdown of a piece of HTML of the page at `base`; raises RecursionError when it is nested too deep."""
    from bs4 import BeautifulSoup

    soup = BeautifulSoup(content, "html.parser")
    _settle_links(soup, base, site)
    for label in soup.select(_LABELS):  # as a heading it would begin a section of the page
        text = label.get_text(" ", strip=True)
        label.clear()
        label.name, label.attrs = "p", {}
        strong = soup.new_tag("strong")
        strong.string = text
        label.append(strong)
    for table in soup.find_all("table"):
        _settle_table(soup, table)
    for numbered in soup.find_all("ol"):
        first = str(numbered.get("start") or "")
        start = int(first) if first.isascii() and first.isdigit() and len(first) < 7 else 1
        for number, item in enumerate(numbered.find_all("li", recursive=False), start):
            item["data-number"] = str(number)
    converter = _Converter(
        heading_style="atx",
        newline_style="backslash",
        bullets="-",
        autolinks=False,
        sub_symbol="<sub>",
        sup_symbol="<sup>",
    )
    return str(converter.convert_soup(soup)).strip()


def _settle_links(soup: "BeautifulSoup", base: str, site: Site) -> None:
    """Make every link and image one that means the same in Markdown, away from its page; drop what is none."""
    for node in soup.find_all(["a", "img"]):
        name = "href" if node.name == "a" else "src"
        link = str(node.get(name) or "").strip()
        if link and not link.startswith("#"):
            there = join(base, link)
            link = (there.removeprefix(site.origin) or "/") if f"{there}/".startswith(f"{site.origin}/") else there
        del node["title"]
        if _LINKED.match(link):
            node[name] = re.sub(r"[\s()<>]", lambda odd: f"%{ord(odd[0]):02X}" if odd[0] < "\x80" else "", link)
        else:
            del node[name]


def _settle_table(soup: "BeautifulSoup", table: "Tag") -> None:
    """Put a listing in the place of a table that only numbers its lines, and HTML where pipes cannot hold the cells."""
    listings = table.find_all("pre")
    if len(listings) == 1 and listings[0].get_text().strip() == table.get_text().strip():
        table.replace_with(listings[0])
        return
    if caption := table.find("caption"):
        caption.name = "p"
        table.insert_before(caption.extract())
    if not all(_is_line(cell) for cell in table.find_all(["td", "th"])):
        raw = soup.new_tag("raw-html")
        raw.string = _plain_html(table)
        table.replace_with(raw)


def _is_line(cell: "Tag") -> bool:
    if any(str(cell.get(name) or "1") != "1" for name in ("colspan", "rowspan")):
        return False
    blocks = cell.find_all(_BLOCKS)
    return not blocks or (
        [block.name for block in blocks] == ["p"] and blocks[0].get_text().strip() == cell.get_text().strip()
    )


def _plain_html(tag: "Tag") -> str:
    """HTML of a tag without attributes (but links and spans), comments, and the tags that mean nothing to a reader."""
    from bs4 import Comment, Tag
    from bs4.element import NavigableString

    parts = []
    for node in tag.children:
        if isinstance(node, Tag):
            parts.append(_plain_html(node))
        elif isinstance(node, NavigableString) and not isinstance(node, Comment):
            text = str(node)
            if tag.find_parent("pre") is None and tag.name != "pre":
                text = re.sub(r"[ \t]+", " ", re.sub(r"\s*\n\s*", "\n", text))
            parts.append(html.escape(text, quote=False).replace("{{%", "&#123;{%"))
    inside = "".join(parts)
    if not _KEPT_IN_TABLES.fullmatch(tag.name):
        return inside
    if tag.name in ("br", "hr"):
        return f"<{tag.name}/>"
    kept = {name: str(tag.get(name)) for name in ("href", "colspan", "rowspan") if tag.get(name)}
    opening = "".join([tag.name, *(f' {name}="{html.escape(value)}"' for name, value in kept.items())])
    if _LINES.fullmatch(tag.name):
        return f"<{opening}>\n{inside.strip()}\n</{tag.name}>\n"
    return f"<{opening}>{inside}</{tag.name}>" + ("\n" if tag.name in ("td", "th", "li") else "")


_markdownify: Any = markdownify  # its stubs leave out the methods that are there to be overridden


class _Converter(_markdownify.MarkdownConverter):
    """markdownify in doctune's dialect. A `convert_` method is given a tag and its children as Markdown."""

    def escape(self, text: str, parent_tags: set[str]) -> str:
        for pattern, replacement in _MARKUP:
            text = pattern.sub(replacement, text)
        return text

    def process_text(self, el: Any, parent_tags: set[str] | None = None) -> str:
        text = str(super().process_text(el, parent_tags))
        if parent_tags and parent_tags & {"pre", "_noformat", "_inline"}:
            return text
        before = el.previous_sibling
        opens = before is None and _markdownify.should_remove_whitespace_inside(el.parent)
        opens = opens or _markdownify.should_remove_whitespace_outside(before) or getattr(before, "name", "") == "br"
        return _AT_START.sub(lambda at: f"{at[0]}\\" if at.start() or opens else at[0], text)

    def convert_hN(self, n: int, el: "Tag", text: str, parent_tags: set[str]) -> str:
        text = " ".join(text.split())
        if not text or "_inline" in parent_tags:
            return text
        parent = el.parent
        named = el.get("id") or (parent.get("id") if parent is not None and parent.name == "section" else None)
        anchor = f" {{#{named}}}" if named and not re.search(r"[\s{}<>%]", str(named)) else ""
        return f"\n\n{'#' * min(max(n, 1), 6)} {text}{anchor}\n\n"

    def convert_a(self, el: "Tag", text: str, parent_tags: set[str]) -> str:
        return text if "\n\n" in text.strip("\n") else str(super().convert_a(el, text, parent_tags))  # around blocks

    def convert_br(self, el: "Tag", text: str, parent_tags: set[str]) -> str:
        return "<br/>" if "_inline" in parent_tags else str(super().convert_br(el, text, parent_tags))

    def convert_img(self, el: "Tag", text: str, parent_tags: set[str]) -> str:
        return str(super().convert_img(el, text, parent_tags)) if el.get("src") else str(el.get("alt") or "")

    def convert_li(self, el: "Tag", text: str, parent_tags: set[str]) -> str:
        number = el.get("data-number")
        marker = f"{number}. " if number else "- "
        lines = text.strip().split("\n")
        return "\n".join([marker + lines[0], *(" " * len(marker) + line if line else "" for line in lines[1:])]) + "\n"

    def convert_pre(self, el: "Tag", text: str, parent_tags: set[str]) -> str:
        code = re.sub(r"\A(?:[ \t]*\n)+", "", _listing(el)).rstrip()
        if not code:
            return ""
        fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`{3,}", code)), default=0))
        return f"\n\n{fence}{_language(el)}\n{code}\n{fence}\n\n"

    def convert_raw_html(self, el: "Tag", text: str, parent_tags: set[str]) -> str:
        return f"\n\n{el.get_text().strip()}\n\n"

    def convert_td(self, el: "Tag", text: str, parent_tags: set[str]) -> str:
        line = " ".join(text.split())
        return " " + re.sub(r"(?<!\\)\|", r"\\|", line) + " |"

    convert_th = convert_td

    def convert_tr(self, el: "Tag", text: str, parent_tags: set[str]) -> str:
        return f"|{text}\n"

    def convert_table(self, el: "Tag", text: str, parent_tags: set[str]) -> str:
        rows = [row for row in text.split("\n") if row.strip()]
        if not rows:
            return ""
        first = el.find("tr")
        columns = max((len(row.find_all(["td", "th"])) for row in el.find_all("tr")), default=1)
        if first is None or first.find("th") is None:
            rows.insert(0, "|" + "  |" * columns)
        rows.insert(1, "|" + " --- |" * columns)
        return "\n\n" + "\n".join(rows) + "\n\n"

    def convert_div(self, el: "Tag", text: str, parent_tags: set[str]) -> str:
        return str(super().convert_div(el, text, parent_tags))

    convert_details = convert_summary = convert_figure = convert_aside = convert_header = convert_main = convert_div
    convert_address = convert_hgroup = convert_center = convert_fieldset = convert_legend = convert_div


def _listing(el: "Tag") -> str:
    """The text of a listing as it stands, with its line breaks."""
    from bs4.element import PreformattedString, Tag

    parts = []
    for node in el.descendants:
        if isinstance(node, Tag):
            parts.append("\n" if node.name == "br" else "")
        elif not isinstance(node, PreformattedString):  # a comment, say
            parts.append(str(node))
    return "".join(parts)


def _language(el: "Tag") -> str:
    """The language of a listing, as its `<code>`, itself or what surrounds it says."""
    code = el.find("code")
    for node in (code, el, el.parent, el.parent.parent if el.parent is not None else None):
        if node is None or isinstance(node, str):
            continue
        if named := node.get("data-lang"):
            return str(named)
        for name in node.get_attribute_list("class"):
            if name and (match := _LANGUAGE.fullmatch(name)):
                return match[1]
    return ""
