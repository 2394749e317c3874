"""Two versions told apart: pages, pairs, params, code, and the stages that ran because of it."""

from typing import Any

import pytest

from doctune.registry.changes import changes


def stage(deps: dict[str, str], outs: dict[str, str], **params: Any) -> dict[str, Any]:
    return {"cmd": "exec python -m tasks.x", "deps": deps, "params": params, "outs": outs}


def snapshot(**other: Any) -> dict[str, Any]:
    stages = {
        "split": stage({"data/pairs.jsonl": "1", "doctune/splitting.py": "2"}, {"data/splits": "3"}, seed=17),
        "base": stage({"base": "4"}, {"models/base": "5"}),
        "train": stage({"data/splits/train.jsonl": "6", "models/base": "5", "doctune/training": "7"}, {"m": "8"}, r=1),
    }
    whole = {"stages": stages, "pages": {"a.md": "1", "b.md": "2"}, "pairs": {"train": 10, "test": 2}}
    return whole | other


def edited(name: str, part: str, **values: Any) -> dict[str, Any]:
    after = snapshot()
    after["stages"][name][part] |= values
    return after


@pytest.mark.parametrize(
    ("after", "wanted"),
    [
        pytest.param(snapshot(), ["nothing before registration"], id="nothing"),
        pytest.param(
            snapshot(pages={"b.md": "3", "c.md": "4"}),
            ["pages added: c.md (1)", "pages removed: a.md (1)", "pages changed: b.md (1)"],
            id="pages",
        ),
        pytest.param(snapshot(pairs={"train": 1012, "test": 2}), ["pairs in train: 10 -> 1,012"], id="pairs"),
        pytest.param(edited("train", "params", r=2), ["params r: 1 -> 2", "train ran: r"], id="a knob"),
        pytest.param(edited("train", "params", new=0), ["params new: unset -> 0", "train ran: new"], id="a new knob"),
        pytest.param(
            edited("train", "deps", **{"doctune/training": "9"}),
            ["code: doctune/training", "train ran: doctune/training"],
            id="code",
        ),
        pytest.param(edited("base", "deps", base="9"), ["inputs: base", "base ran: base"], id="an input"),
        pytest.param(
            edited("train", "deps", **{"data/splits/train.jsonl": "9"}),
            ["train ran: data/splits/train.jsonl"],
            id="made by another stage: neither code nor input",
        ),
    ],
)
def test_what_changed(after: dict[str, Any], wanted: list[str]) -> None:
    assert changes(snapshot(), after).lines() == [*wanted, "register and export ran for the new version"]


def test_a_new_stage_and_another_command_ran() -> None:
    after = snapshot()
    after["stages"]["adapt"] = stage({"models/base": "5"}, {"models/adapted": "9"}, epochs=1.0)
    after["stages"]["split"]["cmd"] += " --more"
    assert changes(snapshot(), after).stages == {"adapt": ("a new stage",), "split": ("its command",)}


def test_long_lists_are_cut() -> None:
    pages = {f"{index}.md": "1" for index in range(1200)}
    [line, _] = changes(snapshot(pages={}), snapshot(pages=pages)).lines(most=2)
    assert line == "pages added: 0.md, 1.md and 1,198 more (1,200)"
