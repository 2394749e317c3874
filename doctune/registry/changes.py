"""What is different between two versions, and which stages ran because of it: two snapshots compared.

found = changes(before, after)
found.pages["changed"], found.params       # ["docs/concepts/pods.md"], {"train.epochs": (2.0, 8.0)}
found.stages                               # {"train": ("train.epochs", "data/splits/train.jsonl"), ...}
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

CODE = ("doctune/", "tasks/", "losses/", "losses")
REGISTERED_BY = ("register", "export")  # the stages that make a version in MLflow, so they run for each


@dataclass(frozen=True)
class Changes:
    pages: Mapping[str, list[str]]  # added, removed, changed
    pairs: Mapping[str, tuple[int, int]]  # by split, before and after
    params: Mapping[str, tuple[Any, Any]]  # None: not there
    code: tuple[str, ...]
    inputs: tuple[str, ...]  # files that no stage made
    stages: Mapping[str, tuple[str, ...]]  # those that ran, and why

    def lines(self, most: int = 8) -> list[str]:
        """For a terminal; long lists are cut and say by how much."""
        found = [f"pages {how}: {_listed(pages, most)} ({len(pages):,})" for how, pages in self.pages.items() if pages]
        found += [f"pairs in {split}: {old:,} -> {new:,}" for split, (old, new) in self.pairs.items() if old != new]
        found += [f"params {key}: {_value(old)} -> {_value(new)}" for key, (old, new) in self.params.items()]
        found += [f"code: {_listed(list(self.code), most)}"] if self.code else []
        found += [f"inputs: {_listed(list(self.inputs), most)}"] if self.inputs else []
        found += [f"{stage} ran: {_listed(list(why), 4)}" for stage, why in self.stages.items()]
        return [*(found or ["nothing before registration"]), f"{' and '.join(REGISTERED_BY)} ran for the new version"]


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Changes:
    """Snapshots in, differences out."""
    old, new = before["stages"], after["stages"]
    made = {out for stages in (old, new) for stage in stages.values() for out in stage["outs"]}
    moved = {
        path: None
        for name in new
        for path in _moved(old.get(name, {}).get("deps", {}), new[name]["deps"])
        if not any(path == out or path.startswith(f"{out}/") for out in made)
    }
    return Changes(
        pages=_pages(before["pages"], after["pages"]),
        pairs={
            split: (before["pairs"].get(split, 0), after["pairs"].get(split, 0))
            for split in dict.fromkeys([*before["pairs"], *after["pairs"]])
        },
        params=dict(_params(old, new)),
        code=tuple(path for path in moved if path.startswith(CODE)),
        inputs=tuple(path for path in moved if not path.startswith(CODE)),
        stages={name: why for name in new if (why := tuple(_why(old.get(name), new[name])))},
    )


def _pages(old: Mapping[str, str], new: Mapping[str, str]) -> dict[str, list[str]]:
    return {
        "added": [page for page in new if page not in old],
        "removed": [page for page in old if page not in new],
        "changed": [page for page in new if page in old and old[page] != new[page]],
    }


def _params(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Several stages may read one knob: it is told once."""
    for name in new:
        was, now = old.get(name, {}).get("params", {}), new[name]["params"]
        yield from ((key, (was.get(key), now.get(key))) for key in _moved(was, now))


def _why(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> Iterator[str]:
    if old is None:
        yield "a new stage"
        return
    yield from _moved(old["params"], new["params"])
    yield from _moved(old["deps"], new["deps"])
    if old["cmd"] != new["cmd"]:
        yield "its command"


def _moved(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Keys whose value is another one, or that only one side has."""
    return [key for key in dict.fromkeys([*new, *old]) if key not in old or key not in new or old[key] != new[key]]


def _listed(names: list[str], most: int) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")


def _value(value: Any) -> str:
    return "unset" if value is None else str(value)
