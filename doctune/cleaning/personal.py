"""Personal data and secrets in a pair: e-mail addresses, phone numbers and passwords are masked, keys and tokens drop it.

    mask("Write to jane@corp.io.", "请写信至 jane@corp.io。")
    # ("Write to name@example.com.", "请写信至 name@example.com。", ("email",))
    holds_secret("Use `ghp_...` (and 36 letters and digits)")       # True: a GitHub token

A mask is the same on both sides, so a sentence stays a translation and a model still learns to copy what stands there.
Keys and tokens are found by their published shapes, by detect-secrets' plugins. They are not masked: a mask that missed
half of a key would leave the other half, and none of 82,000 real pairs has one, so nothing is lost. The plugins for
entropy and keywords are left out: they take hashes, field names and plain English for secrets (in 4,336 of 70,000
texts). Phone numbers are judged by Google's libphonenumber.

Kept are what standards reserve for examples (example.com, 555-0100), addresses that are no one's (git@github.com,
getty@tty1.service), passwords that are words, and example tokens (AKIAIOSFODNN7EXAMPLE, xxxx).
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from detect_secrets.plugins.base import BasePlugin

_EMAIL = re.compile(
    r"(?:(?<=mailto:)|(?<![\w.+/:@$%}-]))(?P<value>(?P<local>[\w.+-]+)@(?P<domain>(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,24}))(?![\w@:-]|\.\w)",
    re.ASCII,
)
_NO_ONES = re.compile(  # reserved domains (RFC 2606, 6761), names of systemd units, names of files
    r"example|\.(?:test|invalid|localhost|local|internal|service|socket|timer|target|mount|path|slice|ya?ml|json|md|sh|conf)$"
)
_PHONE = re.compile(
    r"(?<![\w.+/-])(?P<value>\+[\d ().-]{8,20}\d)(?!\w)"
    r"|(?:电话|手机|热线|[Tt]el|[Pp]hone)[:：.\s]{0,3}(?P<national>[\d(][\d ()-]{6,18}\d)(?!\w)",
    re.ASCII,
)
_FICTION = re.compile(r"555\D?01\d\d$")  # numbers that the North American plan reserves for films and examples
_PASSWORD = re.compile(r"(?<=://)[^\s:/?#\[\]@`'\"（）]+:(?P<value>[^\s:/?#\[\]@`'\"（）]+)(?=@[\w\[])")
_WORD = re.compile(r"[A-Za-z_-]*|.*[<>{}$*%].*|(?i:.*(?:pass|pwd|secret|token|example|xxx).*)")

_RUN = re.compile(r"[A-Za-z0-9_+/=-]{20,}")
_KEY_MATERIAL = 40  # characters in a row of a private key; a text that only names its first line has fewer
_FEWEST_CHARACTERS = 8  # different ones in a token; xxxx and 0000 have fewer
_PLUGINS = (
    ("aws", "AWSKeyDetector"),
    ("azure_storage_key", "AzureStorageKeyDetector"),
    ("discord", "DiscordBotTokenDetector"),
    ("github_token", "GitHubTokenDetector"),
    ("gitlab_token", "GitLabTokenDetector"),
    ("jwt", "JwtTokenDetector"),
    ("mailchimp", "MailchimpDetector"),
    ("npm", "NpmDetector"),
    ("openai", "OpenAIDetector"),
    ("private_key", "PrivateKeyDetector"),
    ("pypi_token", "PypiTokenDetector"),
    ("sendgrid", "SendGridDetector"),
    ("slack", "SlackDetector"),
    ("square_oauth", "SquareOAuthDetector"),
    ("stripe", "StripeDetector"),
    ("telegram_token", "TelegramBotTokenDetector"),
    ("twilio", "TwilioKeyDetector"),
)


def mask(en: str, zh: str) -> tuple[str, str, tuple[str, ...]]:
    """Both texts with personal data replaced, and the kind of each value replaced: "email", "phone", "password"."""
    kinds: list[str] = []
    for kind in _KINDS:
        masks: dict[str, str] = {}
        en, zh = _masked(en, kind, masks), _masked(zh, kind, masks)
        kinds += [kind.name] * len(masks)
    return en, zh, tuple(kinds)


def holds_secret(text: str) -> bool:
    """Is there a private key, or a token of a service, that is no example?"""
    runs = [run for run in _RUN.findall(text) if _may_be_secret(run)]
    if not runs or ("PRIVATE KEY" in text and max(map(len, runs)) < _KEY_MATERIAL):
        return False
    text = _RUN.sub(lambda match: match[0] if _may_be_secret(match[0]) else " ", text)
    return any(True for plugin in _scanners() for _ in plugin.analyze_string(text))


class _Kind(NamedTuple):
    name: str
    hint: re.Pattern[str]  # a text without it holds none
    pattern: re.Pattern[str]
    is_personal: Callable[[re.Match[str]], bool]
    mask: Callable[[int], str]  # of the first, second, ... value in a pair


def _masked(text: str, kind: _Kind, masks: dict[str, str]) -> str:
    """`text` with its values replaced by `masks`, which learns the new ones."""

    def replaced(match: re.Match[str]) -> str:
        if not kind.is_personal(match):
            return match[0]
        value = _value(match)
        mask = masks.setdefault(value, kind.mask(len(masks) + 1))
        return match[0].removesuffix(value) + mask

    return kind.pattern.sub(replaced, text) if kind.hint.search(text) else text


def _value(match: re.Match[str]) -> str:
    """The personal part of a match, which ends it."""
    return next(group for group in match.groups() if group is not None)


def _is_someones(match: re.Match[str]) -> bool:
    return match["local"] != "git" and not _NO_ONES.search(match["domain"].casefold())


def _is_phone(match: re.Match[str]) -> bool:
    from phonenumbers import NumberParseException, is_valid_number, parse

    number = _value(match)
    if _FICTION.search(number):
        return False
    try:
        return bool(is_valid_number(parse(number, "CN")))
    except NumberParseException:
        return False


def _is_password(match: re.Match[str]) -> bool:
    return _WORD.fullmatch(match["value"]) is None


_KINDS = (
    _Kind("email", re.compile("@"), _EMAIL, _is_someones, lambda n: f"name{n if n > 1 else ''}@example.com"),
    _Kind(
        "phone", re.compile(r"\+\d|电话|手机|热线|[Tt]el|[Pp]hone"), _PHONE, _is_phone, lambda n: f"+1 202-555-01{n:02}"
    ),
    _Kind("password", re.compile("://"), _PASSWORD, _is_password, lambda n: f"password{n if n > 1 else ''}"),
)


def _may_be_secret(run: str) -> bool:
    """Could a run of characters be random? Words have no digit, stand-ins repeat a few characters."""
    random = run.isupper() or any(map(str.isdigit, run))
    return random and "example" not in run.casefold() and len(set(run)) >= _FEWEST_CHARACTERS


@lru_cache(maxsize=1)
def _scanners() -> "tuple[BasePlugin, ...]":
    from importlib import import_module

    return tuple(getattr(import_module(f"detect_secrets.plugins.{module}"), name)() for module, name in _PLUGINS)
