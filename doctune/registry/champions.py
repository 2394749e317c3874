"""Who is champion, who was before, and how that changes: one writer at a time, and at every moment one valid champion.

    with promotion_lock(store, "doctune"):
        champion = champion_of(store, "doctune")                           # None before the first
        record(store, "doctune", "4", {"verdict": "passed", ...}, {...})   # tags of the version
        move(store, "doctune", "4", expected=champion and champion.number, how="passed its gates")
    roll_back(store, "doctune", "wrong names of API kinds")                # the champion before

The lock is called `NAME.promotion.lock`. Its scope is one tracking store on this machine: it lies beside a database in a
file; for a server, in this user's folder of temporary files, under a hash of the server's address, so that checkouts
share it. MLflow has no compare-and-swap; against other machines `move` looks right before it writes whether the champion
is still the one that was judged against. Between machines the moment from that look to the write stays open: let one
machine promote.

What is written when: the history first, as an intention, then the alias, which is the only truth. An entry that the
alias never reached is passed over when the history is read. The champion before is the entry below the alias's own.
"""

import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from doctune.errors import DoctuneError
from doctune.files import hash_text, write_json, write_text
from doctune.locks import hold
from doctune.registry.lineage import NAME
from doctune.registry.packages import PREFIX
from doctune.registry.store import LOCK_SECONDS, Store, told
from doctune.registry.versions import CHAMPION, Version, is_loadable, list_versions, registered, resolve, shipped_of

if TYPE_CHECKING:
    from mlflow.entities.model_registry import RegisteredModel

HISTORY = "doctune.champions"  # tag of the registered model: a JSON list, the oldest first
ROLLED_BACK = "doctune.rolled_back"  # tag of a version: since when and why
DECISION = "promotion"  # tag of a version, and folder of its model: what was decided, with every number, as JSON
GATE = "gate."  # and each gate's number by itself, for people
_LONGEST = 5000  # characters of a tag of a registered model, in MLflow's tables; the oldest entries go first
_HOW = 300  # characters of `how` in the history; the version's decision has it whole


class ChampionChanged(DoctuneError):
    """Another promotion was faster."""


@dataclass(frozen=True)
class Reign:
    """A version that was champion, since when and by what right."""

    version: str
    since: str
    how: str


@contextmanager
def promotion_lock(store: Store, name: str) -> Iterator[None]:
    """Be the only promotion of this model on this machine; another one waits, then meets the new champion."""
    with hold(lock_file(store, name), f"to promote a version of {name}", wait=LOCK_SECONDS):
        yield


def lock_file(store: Store, name: str) -> Path:
    if not re.fullmatch(NAME, name):
        raise DoctuneError(f"wanted the name of a registered model ({NAME}), got {name!r}; see `doctune models`")
    if store.uri.startswith("sqlite:"):
        return store.guard.with_name(f"{name}.promotion.lock")
    folder = Path(tempfile.gettempdir()) / f"doctune-{os.getuid()}"
    return folder / f"{hash_text(store.uri)[:16]}.{name}.promotion.lock"


def champion_of(store: Store, name: str) -> Version | None:
    return next((version for version in list_versions(store, name) if CHAMPION in version.aliases), None)


@told
def history(store: Store, name: str) -> list[Reign]:
    """The champions so far, the present one last; what was rolled back is not among them."""
    model = registered(store, name)
    return _reigns(model) if model else []


@told
def record(
    store: Store, name: str, number: str, decision: Mapping[str, Any], gates: Mapping[str, str], page: str = ""
) -> None:
    """Keep a decision with its version: as promotion/NUMBER.TIME.json of the logged model, and in the version's tags.

    `page` is what people look at, kept beside it as .html.

    The tags are each gate in words, then the whole as JSON, which says that all is there.
    """
    version = resolve(store, name, number)
    tags = version.tags
    with tempfile.TemporaryDirectory(prefix="doctune-") as folder:
        file = Path(folder) / f"{number}.{str(decision.get('at', _now())).replace(':', '')}.json"
        write_json(file, decision)
        if page:
            write_text(file.with_suffix(".html"), page)
            store.client.log_model_artifact(
                version.source.removeprefix(PREFIX), str(file.with_suffix(".html")), DECISION
            )
        store.client.log_model_artifact(version.source.removeprefix(PREFIX), str(file), DECISION)
    for key in [key for key in tags if key.startswith(GATE) and key.removeprefix(GATE) not in gates]:
        store.client.delete_model_version_tag(name, number, key)
    for gate, text in gates.items():
        if tags.get(f"{GATE}{gate}") != text:
            store.client.set_model_version_tag(name, number, f"{GATE}{gate}", text)
    store.client.set_model_version_tag(name, number, DECISION, json.dumps(decision, ensure_ascii=False))


@told
def move(store: Store, name: str, number: str, expected: str | None, how: str) -> Version:
    """Let `champion` be version `number`, if it is still version `expected` (None: nobody); else ChampionChanged."""
    client = store.client
    with store.locked():
        version = resolve(store, name, number)
        shipped_of(version)
        model = registered(store, name)
        assert model is not None  # a version of it exists
        now = _alias(model)
        if now != expected:
            raise ChampionChanged(
                f"wanted version {expected or 'none'} of {name} to be champion still, as when {number} was judged, got "
                f"version {now or 'none'}; another promotion was faster, promote again"
            )
        if now != number:
            reigns = [*_reigns(model), Reign(number, _now(), how[:_HOW])]
            client.set_registered_model_tag(name, HISTORY, _written(reigns))
            if ROLLED_BACK in version.tags:  # before the alias: a champion never bears the mark of one that was left
                client.delete_model_version_tag(name, number, ROLLED_BACK)
            client.set_registered_model_alias(name, CHAMPION, number)
    return resolve(store, name, number)


@told
def roll_back(store: Store, name: str, reason: str) -> tuple[Version, Version]:
    """Let the champion before the present one be champion again; returns (what it left, what it came to).

    The version left is not promoted again but with --force. Champions that MLflow no longer has whole are passed over.
    """
    if not reason.strip():
        raise DoctuneError("wanted a reason to roll back, got none; it is kept with the version that is left, say why")
    client = store.client
    with promotion_lock(store, name), store.locked():
        there = {version.number: version for version in list_versions(store, name)}
        model = registered(store, name)
        now = _alias(model) if model else None
        if model is None or now is None:
            raise DoctuneError(f"{name} has no champion to roll back from; `doctune promote` makes one")
        reigns = _reigns(model)
        before = next(
            (
                index
                for index in reversed(range(len(reigns) - 1))
                if reigns[index].version != now and _usable(store, there.get(reigns[index].version))
            ),
            None,
        )
        if before is None:
            raise DoctuneError(
                f"wanted a champion before version {now} of {name} that MLflow still has whole, got none; "
                "`doctune models` lists what can be promoted"
            )
        target = reigns[before].version
        # Marked first: were the alias moved and the mark lost, the next scheduled run would promote it again.
        client.set_model_version_tag(name, now, ROLLED_BACK, f"{_now()} {reason.strip()}")
        client.set_registered_model_alias(name, CHAMPION, target)
        client.set_registered_model_tag(name, HISTORY, _written(reigns[: before + 1]))
    return resolve(store, name, now), resolve(store, name, target)


def _usable(store: Store, version: Version | None) -> bool:
    """Whether people can be led back to it: whole, and not left for a reason itself."""
    if version is None or version.shipped is None or ROLLED_BACK in version.tags:
        return False
    return is_loadable(store, version.shipped)


def _alias(model: "RegisteredModel") -> str | None:
    number = model.aliases.get(CHAMPION)
    return None if number is None else str(number)


def _reigns(model: "RegisteredModel") -> list[Reign]:
    """The history up to the version that the alias names: later entries were never reached, or rolled back."""
    now = _alias(model)
    try:
        reigns = [Reign(**entry) for entry in json.loads(model.tags.get(HISTORY, "[]"))]
    except (ValueError, TypeError) as error:
        raise DoctuneError(
            f"wanted the history of champions in tag {HISTORY} of {model.name}, got something else ({error}); delete the tag"
        ) from None
    if now is None:
        return []
    while reigns and reigns[-1].version != now:
        reigns.pop()
    if reigns:
        return reigns
    known = json.loads(model.tags.get(HISTORY, "[]"))  # moved by hand, or by a doctune that kept no history
    return [*(Reign(**entry) for entry in known), Reign(now, "", "not by doctune")]


def _written(reigns: list[Reign]) -> str:
    """As JSON, the newest that fit."""
    kept = list(reigns)
    while len(text := json.dumps([vars(reign) for reign in kept], ensure_ascii=False)) > _LONGEST:
        kept = kept[1:]
    return text


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
