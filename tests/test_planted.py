"""Planted models: each is refused by the gate that is there for it and by no other; a better one becomes champion."""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from doctune.errors import DoctuneError
from doctune.files import write_jsonl
from doctune.registry import api as registry
from doctune.registry.champions import history
from doctune.registry.versions import Version, resolve
from doctune.scoring.evaluation import Output
from tests.planted import GENERAL, PAIRS, Teach, World, clumsy, failed, perfect, rows
from tests.test_registry import fresh_mlruns

__all__ = ["fresh_mlruns"]  # a fixture
pytestmark = [pytest.mark.planted, pytest.mark.slow]


def only(count: int, teach: Teach) -> Teach:
    """`teach` for the first sentences, the reference for the others."""
    first = {en for en, _ in PAIRS[:count]}
    return lambda en, zh: teach(en, zh) if en in first else zh


def repeats(en: str, zh: str) -> str:
    """The sentence, and then a loop in which decoding did not find an end."""
    return zh.rstrip("。") + "，然后再等一等" * 12 + "。"


def drops_backticks(en: str, zh: str) -> str:
    return zh.replace("`", "")


def mistranslates(en: str, zh: str) -> str:
    """Terms by renderings that the glossary forbids or does not know."""
    for right, wrong in (
        ("节点", "结点"),
        ("集群", "群集"),
        ("控制器", "操纵机"),
        ("调度器", "日程表"),
        ("注解", "注释"),
        ("标签", "商标"),
    ):
        zh = zh.replace(right, wrong)
    return zh


def loses(en: str, zh: str) -> str:
    """What int8 may do to a model: other words, with markup and terms in their places."""
    return zh.replace("的", "之").replace("把", "将").replace("运行", "跑着").replace("，", "，并且")


@pytest.fixture
def world(fresh_mlruns: Path, tmp_path: Path) -> World:
    return World.make(fresh_mlruns, tmp_path / "project")


@pytest.mark.parametrize(
    ("plant", "gate", "by"),
    [
        pytest.param(lambda w: w.plant("bad", only(4, repeats)), "degenerate", "too high", id="repeats itself"),
        pytest.param(lambda w: w.plant("bad", drops_backticks), "structure", "too low", id="drops backticks"),
        pytest.param(lambda w: w.plant("bad", mistranslates), "terms", "too low", id="mistranslates terms"),
        pytest.param(lambda w: w.plant("bad", loses, torch=perfect), "parity", "too high", id="int8 differs"),
        pytest.param(
            lambda w: w.plant("bad", perfect, general=lambda en, zh: "该 Pod 的节点。"),
            "forgetting",
            "too high",
            id="forgot other text",
        ),
    ],
)
def test_refused_by_its_own_gate(world: World, plant: Callable[[World], Version], gate: str, by: str) -> None:
    number = plant(world).number
    decision = world.promote(number)
    assert decision.verdict == "refused" and failed(decision) == [gate], decision.text
    [found] = [found for found in decision.gates if found.gate == gate]
    assert by in found.short and found.short in decision.sentence
    assert world.champion() is None
    version = resolve(world.store, "doctune", number)
    tags = version.tags
    [kept], [page] = (
        list((registry.fetch(world.store, version.source) / "promotion").glob(f"*.{end}")) for end in ("json", "html")
    )
    assert f'<th scope="row">{gate}</th><td class="failed">' in page.read_text(encoding="utf-8")
    assert json.loads(kept.read_text(encoding="utf-8"))["verdict"] == "refused"
    assert by in tags[f"gate.{gate}"] and tags["gate.smoke"].endswith("passed") and '"refused"' in tags["promotion"]


def test_a_model_trained_on_the_test_set_is_refused_for_leakage(fresh_mlruns: Path, tmp_path: Path) -> None:
    world = World.make(fresh_mlruns, tmp_path / "project", leaked=7)
    decision = world.promote(world.plant("cheat", perfect).number)
    assert failed(decision) == ["leakage"] and decision.numbers["leaked"] == 7
    assert "7 test rows in train, wanted at most 0" in decision.sentence and world.champion() is None


def test_a_model_of_other_splits_is_refused_for_these(world: World) -> None:
    version = world.plant("elsewhere", perfect)
    test = world.places.splits / "test.jsonl"
    lines = test.read_text(encoding="utf-8").splitlines(keepends=True)
    test.write_text("".join(lines[1:]), encoding="utf-8")
    world.places.hypotheses.write_text(
        "".join(world.places.hypotheses.read_text(encoding="utf-8").splitlines(keepends=True)[1:]), encoding="utf-8"
    )
    assert failed(world.promote(version.number)) == ["splits"]


def test_pytorch_is_asked_where_the_checkout_holds_another_model(world: World) -> None:
    """Parity without the pipeline's own translations: the registered PyTorch model, in a fresh process of its own."""
    older = world.plant("older", loses, torch=perfect)
    world.plant("newer", perfect)
    decision = world.promote(older.number)
    assert failed(decision) == ["parity"], decision.text


def test_what_does_not_run_is_refused_even_by_force(world: World) -> None:
    version = world.plant("broken", perfect)
    assert version.shipped
    code = registry.fetch(world.store, version.shipped) / "code/doctune/pyfunc.py"
    code.write_text("raise ImportError('no such thing')\n", encoding="utf-8")
    for force in (None, "因为赶时间"):
        decision = world.promote(version.number, force)
        assert decision.verdict == "refused" and failed(decision) == ["smoke"] and "ImportError" in decision.sentence
    weights = registry.weights_in(registry.fetch(world.store, version.shipped)) / "onnx" / "model.onnx"
    weights.write_text("另一张图", encoding="utf-8")
    assert "is not what was exported" in world.promote(version.number).sentence
    assert world.champion() is None


def test_a_better_one_is_promoted_and_a_worse_one_is_not(world: World) -> None:
    first = world.promote(world.plant("first", clumsy).number)
    assert (first.verdict, first.champion) == ("passed", None), first.text
    assert {"gain", "significance"}.isdisjoint(gate.gate for gate in first.gates)
    second = world.promote(world.plant("second", perfect).number)
    assert (second.verdict, second.champion, failed(second)) == ("passed", "1", []), second.text
    assert world.champion() == "2" and second.numbers["against"]["p_value"] <= 0.05
    source = resolve(world.store, "doctune", "2").source
    [page] = (registry.fetch(world.store, source) / "promotion").glob("2.*.html")
    for part in ("Loss, candidate", "24 are new", "translation memory"):
        assert part in page.read_text(encoding="utf-8"), part
    kept = sorted(world.places.memo.iterdir())
    assert len(kept) == 4, "test rows and general text of either, decoded once"
    before = [file.stat().st_mtime_ns for file in kept]

    worse = world.plant("worse", only(12, clumsy))
    refused = world.promote(worse.number)
    assert failed(refused) == ["gain", "significance"] and "too low" in refused.sentence and world.champion() == "2"
    assert [file.stat().st_mtime_ns for file in kept] == before, "the champion's are read, not made again"
    assert world.promote(worse.number) == refused, "nothing has changed: what was said is said again"
    assert world.promote("champion").verdict == "champion"

    forced = world.promote(worse.number, "第三版的术语更好")
    assert forced.verdict == "forced" and world.champion() == "3"
    assert history(world.store, "doctune")[-1].how == "forced: 第三版的术语更好"
    assert "第三版的术语更好" in resolve(world.store, "doctune", "3").tags["promotion"]
    left, now = registry.roll_back(world.store, "doctune", "漏译")
    assert (left.number, now.number, world.champion()) == ("3", "2", "2")
    assert "rolled back" in failed(world.promote("3")), "the next scheduled run does not bring it back"
    assert len(GENERAL) == 5


def test_a_cancelled_run_decides_nothing(world: World) -> None:
    version = world.plant("first", perfect)
    with pytest.raises(DoctuneError, match="not decided on: the run was cancelled"):
        world.promote(version.number, stopped=lambda: True)
    assert world.champion() is None
    assert "promotion" not in resolve(world.store, "doctune", version.number).tags
    assert world.promote(version.number).verdict == "passed"


def test_a_gate_may_ask_for_comet(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = world.knobs.promote.model_copy(update={"floors": {"comet": 80.0}})
    world = replace(world, knobs=replace(world.knobs, promote=limits))
    version = world.plant("first", perfect)
    with pytest.raises(DoctuneError, match="'comet', which was not measured"):
        world.promote(version.number)

    def judged(test: list[Any], outputs: Mapping[str, Output], checkpoint: str) -> dict[str, Output]:
        rows = np.tile([0.5, 1.0], (len(test), 1))
        return {name: replace(output, measured={"comet": rows}) for name, output in outputs.items()}

    monkeypatch.setattr("doctune.scoring.evaluation.with_comet", judged)  # its program is an extra
    decision = world.promote(version.number)
    assert failed(decision) == ["comet"] and "30.00 too low" in decision.sentence


def test_translations_of_another_model_prove_no_parity(world: World) -> None:
    """A run that was killed after it translated leaves a newer model's translations beside the registered version."""
    version = world.plant("older", loses, torch=perfect)
    newer = [{"id": row["id"], "hyp": loses(row["en"], row["zh"])} for row in rows(PAIRS, "test")]
    write_jsonl(world.places.hypotheses, newer)
    decision = world.promote(version.number)
    assert failed(decision) == ["parity"], decision.text


def test_by_force_without_a_comparison_says_so(world: World) -> None:
    first = world.plant("first", clumsy)
    assert world.promote(first.number).verdict == "passed" and first.shipped
    shutil.rmtree(registry.weights_in(registry.fetch(world.store, first.shipped)) / "onnx")
    shutil.rmtree(world.places.memo)
    second = world.plant("second", perfect)
    decision = world.promote(second.number, "第一版坏了")
    assert (decision.verdict, failed(decision)) == ("forced", ["champion"]), decision.text
    assert "第一版坏了" in decision.sentence and "comparison with version 1" in decision.text
    assert history(world.store, "doctune")[-1].how == "forced: 第一版坏了"


def test_a_champion_s_code_is_part_of_what_was_translated(world: World) -> None:
    """Its package was made again with other code: what the old code translated is not taken for its."""
    first = world.plant("first", clumsy)
    assert world.promote(first.number).verdict == "passed" and first.shipped
    code = registry.fetch(world.store, first.shipped) / "code/doctune/pyfunc.py"
    code.write_text(code.read_text(encoding="utf-8").replace("self.table[text] for", "self.table[text] + '。' for"))
    kept = set(world.places.memo.iterdir())
    second = world.promote(world.plant("second", perfect).number)
    assert second.champion == "1" and len(set(world.places.memo.iterdir()) - kept) == 3
