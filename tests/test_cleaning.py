"""Why a pair is no training material, rule by rule, and what of personal data is masked."""

import os
import random
import string
import sys
from base64 import urlsafe_b64encode
from collections import Counter
from itertools import pairwise
from pathlib import Path
from subprocess import run

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doctune.cleaning import REASONS, RULES, Limits, mask, reason_to_drop
from doctune.cleaning.personal import _PLUGINS, _scanners, holds_secret
from doctune.files import read_jsonl

LIMITS = Limits(max_chars=1000, min_ratio=0.2, max_ratio=1.8, max_latin=0.75)


def utf8_as(encoding: str, text: str) -> str:
    return text.encode().decode(encoding, "replace")


@pytest.mark.parametrize(
    ("en", "zh", "reason"),
    [
        pytest.param("Pods run on nodes.", "Pod 运行在节点上。", None, id="kept"),
        pytest.param("", "甲", "empty", id="empty"),
        pytest.param("kubelet", "kubelet", "untranslated", id="same"),
        pytest.param("The kubelet.", "kubelet，", "untranslated", id="no-chinese-character"),
        pytest.param('{{< include "x.md" >}}', "{{< include >}}甲", "boilerplate", id="shortcode-only"),
        pytest.param("[1]: https://example.org/a", "[1]: https://example.org/甲", "boilerplate", id="link-definition"),
        pytest.param("`NoExecute`", "`NoExecute`（不执行）", "code_only", id="code-only"),
        pytest.param('span class="x">Nothing here.</span', "没有内容。", "broken_markup", id="tag-cut-in-two"),
        pytest.param("A pod. " * 200, "一个 Pod。" * 90, "overlong", id="overlong"),
        pytest.param("下面的标题不翻译", "下面的标题不翻译了", "wrong_language", id="chinese-comment"),
        pytest.param(
            "A long text about the pods of a cluster and nodes of it",
            "一 " + "still in English words only " * 5,
            "wrong_language",
            id="left-in-english",
        ),
        pytest.param(
            "Formats are one of (rope, sail, anchor, tide, harbour, mooring-template, mooring-file)",
            "格式为 rope, sail, anchor, tide, harbour, mooring-template, mooring-file 之一",
            None,
            id="list-of-values",
        ),
        pytest.param(
            "HarbourMooringConfigurationList is a list of HarbourMooringConfiguration.",
            "HarbourMooringConfigurationList 是 HarbourMooringConfiguration 的列表。",
            None,
            id="long-names",
        ),
        pytest.param(
            'It fails with "the rope to the anchor is not long enough for this harbour"',
            "失败，错误为 “the rope to the anchor is not long enough for this harbour”",
            None,
            id="quoted-message",
        ),
        pytest.param(
            '{{< glossary_tooltip text="Storm warning" term_id="storm" >}}',
            '{{< glossary_tooltip text="风暴预警" term_id="storm" >}}',
            None,
            id="glossary-term-alone",
        ),
        pytest.param('<img src="/a.png" alt="A rope">', '<img src="/a.png" alt="缆绳">', "boilerplate", id="image"),
        pytest.param("Every container of the Pod is restarted after that.", "是。", "length_ratio", id="too-short"),
        pytest.param("Yes.", "是的，但是要先等所有容器都停下来才行。", "length_ratio", id="too-long"),
        pytest.param("Task", "任务（Task）", None, id="short-heading-with-gloss"),
    ],
)
def test_shape(en: str, zh: str, reason: str | None) -> None:
    assert reason_to_drop(en, zh, LIMITS) == reason


@pytest.mark.parametrize(
    ("en", "zh", "reason"),
    [
        pytest.param("The dam keeps the water back.", "這座水壩會擋住河水。", "wrong_language", id="traditional"),
        pytest.param("Network settings", "網路設定", "wrong_language", id="traditional-heading"),
        pytest.param("The scheduler starts it.", "スケジューラーが起動します。", "wrong_language", id="japanese"),
        pytest.param("The scheduler starts it.", "스케줄러가 節點을 시작합니다.", "wrong_language", id="korean"),
        pytest.param(
            "The name comes from こんにちは.",
            "这个名字来自日语的“こんにちは”一词，意为你好。",
            None,
            id="japanese-word",
        ),
        pytest.param(
            "Written by 張大明 last year, it is kept up by the community.",
            "由張大明于去年撰写，并由社区维护至今。",
            None,
            id="traditional-name",
        ),
        pytest.param("Look far ahead", "向远处瞭望", None, id="simplified-character-of-big5"),
        pytest.param("It runs on the node.", utf8_as("gbk", "它在这个节点上运行。"), "mojibake", id="utf8-as-gbk"),
        pytest.param(
            "Run `x` on it.", "`x` " + utf8_as("gbk", "在其上运行这个容器"), "mojibake", id="utf8-as-gbk-behind-code"
        ),
        pytest.param(
            "It runs on the node.", utf8_as("latin-1", "它在这个节点上运行。"), "mojibake", id="utf8-as-latin-1"
        ),
        pytest.param(
            "It runs on the node.", utf8_as("cp1252", "它在这个节点上运行。"), "mojibake", id="utf8-as-cp1252"
        ),
        pytest.param(
            "It runs on the node.",
            "它在这个节点上运行".encode("gbk").decode("latin-1"),
            "mojibake",
            id="gbk-as-latin-1",
        ),
        pytest.param("It runs on it.", "它在锟斤拷上运行。", "mojibake", id="twice-lost"),
        pytest.param("It runs on it.", "它在\ufffd点上运行。", "mojibake", id="replacement-character"),
        pytest.param("Press \uf0b7 to go on.", "按下按钮继续。", "mojibake", id="icon-font"),
        pytest.param("The café's façade, naïvely drawn", "画得天真的 café 与 façade", None, id="accents"),
        pytest.param("🧑‍💻 Write it down → done ✅", "🧑‍💻 写下来 → 完成 ✅", None, id="emoji-and-arrows"),
        pytest.param("Wait ⌛ for 3 µs at 20 °C", "在 20 °C 下等待 3 µs ⌛", None, id="units"),
    ],
)
def test_language_and_encoding(en: str, zh: str, reason: str | None) -> None:
    assert reason_to_drop(en, zh, LIMITS) == reason


@pytest.mark.parametrize(
    ("en", "zh", "reason"),
    [
        pytest.param("Set `retries` to", "将 `retrys` 设为", "code_differs", id="mistyped"),
        pytest.param("Run `boatctl moor` now.", "现在运行 `boatctl anchor`。", "code_differs", id="another-command"),
        pytest.param(
            "Set `tide:high` there.", "在那里设置 `tide：high`。", "code_differs", id="full-width-colon-in-code"
        ),
        pytest.param("It is `50%` full.", "它已满 `50％`。", "code_differs", id="full-width-percent-in-code"),
        pytest.param(
            "Open <code>a/lake.yaml</code>.", "打开 <code>a/pond.yaml</code>。", "code_differs", id="html-code"
        ),
        pytest.param("Replace `<dock-name>` with it.", "将 `<码头名称>` 替换为它。", None, id="slot-translated"),
        pytest.param(
            "The form is `<dock>.<harbour>.svc`.", "格式为 `<码头>.<港口>.svc`。", None, id="slots-in-code-translated"
        ),
        pytest.param("Named `Stdout{Signal}Exporter`", "名为 `Stdout{Signal}Exporter`", None, id="slot-kept"),
        pytest.param('Set `mooring = "Never"`.', "将 `mooring` 设为 `Never`。", None, id="code-split"),
        pytest.param(
            "Set `.spec.mooring` to `nil`.", "将 `spec.mooring` 设为 nil。", None, id="dot-and-backticks-lost"
        ),
        pytest.param("The Dock has `ropes`.", "`Dock` 有 `rope`。", None, id="plural-and-code-added"),
        pytest.param("Say `good morning` or `x &lt; y`.", "说 `早上好` 或 `x < y`。", None, id="words-and-entities"),
        pytest.param("See `content/en/docs`.", "请看 `content/zh-cn/docs`。", None, id="language-folder"),
        pytest.param("Use `mooring`.", "使用它。", None, id="only-lost"),
        pytest.param("Use it.", "使用 `mooring`。", None, id="only-new"),
        pytest.param("Use ``a `b` c`` here.", "在这里使用 ``a `b` c``。", None, id="ticks-in-code"),
    ],
)
def test_code(en: str, zh: str, reason: str | None) -> None:
    assert reason_to_drop(en, zh, LIMITS) == reason


@pytest.mark.parametrize(
    ("en", "zh", "reason"),
    [
        pytest.param("Before version 1.5 it sank.", "在 1.6 版之前它会沉没。", "numbers_differ", id="other-version"),
        pytest.param("At most 256 boats fit.", "最多容纳 32 艘船。", "numbers_differ", id="other-limit"),
        pytest.param("It costs 2,500 coins.", "它要 3,500 枚硬币。", "numbers_differ", id="thousands"),
        pytest.param("There are three of them.", "共有 3 个。", None, id="word-as-digit"),
        pytest.param("There are 4 of them.", "共有四个。", None, id="digit-as-word"),
        pytest.param("It holds 10,000 boats.", "它可容纳 1 万艘船。", None, id="ten-thousand"),
        pytest.param("It holds 2.5 million boats.", "它可容纳 250 万艘船。", None, id="million"),
        pytest.param("It costs 2,500 coins.", "它要 2500 枚硬币。", None, id="comma-lost"),
        pytest.param("On October 19, 2025 it left.", "它于 2025 年 10 月 19 日离港。", None, id="date"),
        pytest.param("It leaves at 3:30 pm.", "它于 15:30 离港。", None, id="time-of-day"),
        pytest.param("Built in the 1990s", "建于 20 世纪 90 年代", None, id="decade"),
        pytest.param("Use port 8080 and 9090.", "使用 8080 端口。", None, id="only-lost"),
        pytest.param("It takes 512MiB.", "它占用 512 MiB。", None, id="unit-without-space"),
        pytest.param("[It](https://a.org/2024/10/b)", "[它](https://a.org/2025/11/b)", None, id="digits-of-links"),
        pytest.param("Port " + "9" * 900, "端口 " + "8" * 900, "numbers_differ", id="no-number-is-too-long"),
        pytest.param("`v1.16` or later", "`v1.16` 或更高版本，见 v1.16", None, id="number-in-code-only"),
        pytest.param("At most １５ and 20", "最多 15 个和 20 个", None, id="full-width"),
    ],
)
def test_numbers(en: str, zh: str, reason: str | None) -> None:
    assert reason_to_drop(en, zh, LIMITS) == reason


@pytest.mark.parametrize(
    ("en", "zh", "reason"),
    [
        pytest.param(
            "Fix the rope. [PR](https://a.org/b/pull/5701)",
            "修复缆绳。[PR](https://a.org/b/pull/5702)",
            "links_differ",
            id="other-pull-request",
        ),
        pytest.param(
            "See [ropes](/docs/ropes/) and [knots](/docs/knots/).",
            "参阅[船帆](/zh-cn/docs/sails/)和[锚](/zh-cn/docs/anchors/)。",
            "links_differ",
            id="two-other-pages",
        ),
        pytest.param(
            "See [ropes](/docs/ropes/#a).", "参阅[缆绳](/zh-cn/docs/ropes/#甲)。", None, id="locale-and-fragment"
        ),
        pytest.param("See [ropes](/docs/ropes/).", "参阅[缆绳](/zh-cn/docs/gear/ropes/)。", None, id="moved-page"),
        pytest.param(
            "See [ropes](/docs/ropes/).", "参阅[锚](/zh-cn/docs/anchors/)。", None, id="one-other-page-is-too-little"
        ),
        pytest.param(
            "[Rope](https://en.wikipedia.org/wiki/Rope) and [knot](https://en.wikipedia.org/wiki/Knot)",
            "[缆绳](https://zh.wikipedia.org/wiki/绳)和[结](https://zh.wikipedia.org/wiki/结)",
            None,
            id="chinese-wikipedia",
        ),
        pytest.param("See https://a.org/rope.", "参阅 https://a.org/rope。", None, id="full-stop-behind-address"),
    ],
)
def test_links(en: str, zh: str, reason: str | None) -> None:
    assert reason_to_drop(en, zh, LIMITS) == reason


@pytest.mark.parametrize(
    ("en", "zh", "reason"),
    [
        pytest.param("Edit this page", "编辑此页", "boilerplate", id="edit"),
        pytest.param("© 2024 The Harbour Authors", "© 2024 港口作者", "boilerplate", id="copyright"),
        pytest.param(
            "Last modified October 3, 2024", "最后修改于 2024 年 10 月 3 日", "boilerplate", id="last-modified"
        ),
        pytest.param("[Skip to main content](#main)", "[跳到正文](#main)", "boilerplate", id="skip"),
        pytest.param(
            "Choose **Edit this page** on the right.", "选择右侧的**编辑此页**。", None, id="a-sentence-about-it"
        ),
        pytest.param("Copyright and reuse", "版权和重用", None, id="a-heading-about-it"),
        pytest.param("Last modified time", "最后修改时间", None, id="a-column-of-times"),
    ],
)
def test_boilerplate(en: str, zh: str, reason: str | None) -> None:
    assert reason_to_drop(en, zh, LIMITS) == reason


def made_up(count: int, alphabet: str = string.ascii_letters + string.digits) -> str:
    """Random characters, a digit first: no token stands in this file."""
    return "7" + "".join(RANDOM.choices(alphabet, k=count - 1))


RANDOM = random.Random(17)
UPPER, HEX = string.ascii_uppercase + string.digits, "0123456789abcdef"
JWT_HEADER = urlsafe_b64encode(b'{"alg": "HS256", "typ": "JWT"}').decode()
TOKENS = {
    "aws": lambda: "AKIA" + made_up(16, UPPER),
    "azure_storage_key": lambda: "AccountKey=" + made_up(86) + "==",
    "discord": lambda: "M" + made_up(23) + "." + made_up(6) + "." + made_up(27),
    "github_token": lambda: "ghp_" + made_up(36),
    "gitlab_token": lambda: "glpat-" + made_up(20),
    "jwt": lambda: (
        JWT_HEADER + "." + urlsafe_b64encode(b'{"sub": "' + made_up(8).encode() + b'"}').decode() + "." + made_up(43)
    ),
    "mailchimp": lambda: made_up(32, HEX) + "-us12",
    "npm": lambda: "//registry.example.org/:_authToken=npm_" + made_up(36),
    "openai": lambda: "sk-" + made_up(20) + "T3BlbkFJ" + made_up(20),
    "private_key": lambda: "-----BEGIN RSA PRIVATE KEY-----\n" + made_up(64) + "\n-----END RSA PRIVATE KEY-----",
    "pypi_token": lambda: "pypi-AgEIcHlwaS5vcmc" + made_up(75),
    "sendgrid": lambda: "SG." + made_up(22) + "." + made_up(43),
    "slack": lambda: "xoxb-" + made_up(12, string.digits) + "-" + made_up(24, string.ascii_lowercase + string.digits),
    "square_oauth": lambda: "sq0csp-" + made_up(43),
    "stripe": lambda: "sk_live_" + made_up(24),
    "telegram_token": lambda: made_up(9, string.digits) + ":" + made_up(35),
    "twilio": lambda: "AC" + made_up(32, HEX),
}


@pytest.mark.parametrize("plugin", [module for module, _ in _PLUGINS])
def test_a_token_drops_the_pair(plugin: str) -> None:
    token = TOKENS[plugin]()
    assert any(list(scanner.analyze_string(token)) for scanner in _scanners()), "the sample is one"
    assert reason_to_drop(f"Log in with {token} first.", f"请先用 {token} 登录。", LIMITS) == "secret"
    assert holds_secret(f"令牌：{token}。")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("AKIAIOSFODNN7EXAMPLE", id="the-example-of-aws"),
        pytest.param("ghp_" + "x" * 36, id="crossed-out"),
        pytest.param("A file that begins with -----BEGIN RSA PRIVATE KEY-----", id="naming-the-first-line"),
        pytest.param("sha256:" + "0123456789abcdef" * 4, id="digest"),
        pytest.param("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b", id="commit"),
        pytest.param("/docs/reference/generated/harbour-api/v1/#dock-v1-core", id="address"),
        pytest.param("a3bb189e-8bf9-3888-9912-ace4e6543002", id="uuid"),
        pytest.param("terminationGracePeriodSeconds=30", id="long-name"),
        pytest.param("c2VjcmV0LXBhc3N3b3JkLWluLWJhc2U2NA==", id="base64-without-a-shape"),
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert not holds_secret(text)


@pytest.mark.parametrize(
    ("en", "zh", "want_en", "want_zh", "kinds"),
    [
        pytest.param(
            "Write to ann@harbour.cn.", "请写信至ann@harbour.cn。", "Write to name@example.com.",
            "请写信至name@example.com。", ("email",), id="email",
        ),
        pytest.param(
            "[ann@harbour.cn](mailto:ann@harbour.cn)", "安：<ann@harbour.cn>", "[name@example.com](mailto:name@example.com)",
            "安：<name@example.com>", ("email",), id="email-as-link",
        ),
        pytest.param(
            "a@b.cn or x.a@b.cn", "x.a@b.cn 或 a@b.cn", "name@example.com or name2@example.com",
            "name2@example.com 或 name@example.com", ("email", "email"), id="one-inside-the-other",
        ),
        pytest.param(
            "Call +86 10 6552 9988 or +1 650-253-0000.", "请致电 +86 10 6552 9988。",
            "Call +1 202-555-0101 or +1 202-555-0102.", "请致电 +1 202-555-0101。", ("phone", "phone"), id="phone",
        ),
        pytest.param("", "电话：010-65529988。", "", "电话：+1 202-555-0101。", ("phone",), id="national-phone"),
        pytest.param(
            "Use http://ann:h4rb0ur!@a.cn:80/", "使用 http://ann:h4rb0ur!@a.cn:80/", "Use http://ann:password@a.cn:80/",
            "使用 http://ann:password@a.cn:80/", ("password",), id="password-in-address",
        ),
    ],
)  # fmt: skip
def test_mask(en: str, zh: str, want_en: str, want_zh: str, kinds: tuple[str, ...]) -> None:
    assert mask(en, zh) == (want_en, want_zh, kinds)
    assert mask(want_en, want_zh) == (want_en, want_zh, ()), "a mask is never masked"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("bo@example.com, bo@mail.example.org, bo@dock.example", id="reserved-domains"),
        pytest.param("bo@my-example.com and ann@host.test", id="examples-by-name"),
        pytest.param("git clone git@github.com:harbour/docs.git", id="git-over-ssh"),
        pytest.param("ssh://core@10.0.0.1 and ssh core@node-1", id="logins"),
        pytest.param("systemctl status getty@tty1.service", id="systemd-unit"),
        pytest.param("npm install rope@18.2.0 and @harbour/rope@next", id="package-versions"),
        pytest.param("registry.k8s.io/pause@sha256:0123", id="digest"),
        pytest.param("+1 202-555-0123 is for films", id="fiction"),
        pytest.param("UTC+08:00, +10 -20 +30, 1.2.3.4+5", id="signs"),
        pytest.param("issue 18062706139 and 1589000000", id="long-numbers"),
        pytest.param("http://user:password@proxy:80, https://<user>:<pass>@a.cn, http://a:$PW@b.cn", id="stand-ins"),
        pytest.param("手机上运行 2 个容器，电话 3 次", id="words-for-phones"),
    ],
)
def test_what_is_no_ones_stays(text: str) -> None:
    assert mask(text, text) == (text, text, ())


@given(st.text(alphabet="a1@.:/+-电话 example.com", max_size=60), st.text(max_size=20))
def test_masking_twice_changes_nothing_more(en: str, zh: str) -> None:
    en, zh, _ = mask(en, zh)
    assert mask(en, zh) == (en, zh, ())


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_text_gets_a_known_reason_or_none(en: str, zh: str) -> None:
    assert reason_to_drop(en, zh, LIMITS) in (None, *REASONS)


@pytest.mark.slow
def test_real_pairs_keep_what_is_right_and_lose_what_is_not() -> None:
    """46,750 pairs of other sites, 2 to 10 % of them misaligned; and each English with the next one's Chinese."""
    shared = Path(os.environ.get("DOCTUNE_SHARED", Path(__file__).parents[2] / "shared"))
    file = shared / "corpora" / "general" / "pairs.jsonl"
    if not file.is_file():
        pytest.skip(f"{file} is not on this machine")
    rows = [row for row in read_jsonl(file) if len(row["en"]) > 60]
    limits = Limits(max_chars=1200, min_ratio=0.2, max_ratio=1.8, max_latin=0.75)

    def share(pairs: list[tuple[str, str]]) -> dict[str | None, float]:
        found = Counter(reason_to_drop(en, zh, limits) for en, zh in pairs)
        return {reason: count / len(pairs) for reason, count in found.items()}

    found = share([(row["en"], row["zh"]) for row in rows])
    differ = ("code_differs", "numbers_differ", "links_differ")
    assert 0.001 < sum(found.get(reason, 0) for reason in differ) < 0.008, found
    for reason in ("secret", "mojibake", "wrong_language"):
        assert found.get(reason, 0) < 0.0005, found
    shifted = share([(a["en"], b["zh"]) for a, b in pairwise(rows) if a["path"] == b["path"] and a["en"] != b["en"]])
    assert sum(shifted.get(reason, 0) for reason in differ) > 0.12, shifted


def test_every_reason_is_named_once() -> None:
    assert len(set(REASONS)) == len(RULES)


def test_scanners_are_loaded_when_they_are_needed() -> None:
    code = (
        "import sys; from doctune.cleaning import Limits, mask, reason_to_drop\n"
        "reason_to_drop('Pods run on nodes.', 'Pod 运行在节点上。', Limits(1000, 0.2, 1.8, 0.75)), mask('a', 'b')\n"
        "print([name for name in ('ftfy', 'detect_secrets', 'phonenumbers') if name in sys.modules])"
    )
    assert run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
