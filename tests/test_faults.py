"""A champion is never lost: promotion and rollback stopped at each of their steps, by an error and by `kill -9`.

The steps are what they write and what they wait for. The killed ones are processes of their own that really get SIGKILL;
what they translate is looked up, so that a step takes no model's start (test_planted.py has the real ones).
"""

import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest

from doctune.errors import DoctuneError
from doctune.files import read_json
from doctune.promotion import evidence, promoting, shipped
from doctune.registry import api as registry
from doctune.registry import champions
from doctune.registry.versions import resolve
from tests.planted import World, clumsy, perfect
from tests.test_registry import fresh_mlruns

__all__ = ["fresh_mlruns"]  # a fixture

# (module and function, or a method of MLflow's client and one of its arguments; "before" or "after" it): a promotion's
# steps, in order.
PROMOTION = {
    "locked": (promoting, "champion_of", "before"),
    "who is champion is known": (promoting, "champion_of", "after"),
    "the candidate translates": (shipped, "_ask", "before"),
    "it has translated": (shipped, "_ask", "after"),
    "one part of it is kept": (shipped, "keep", "after"),
    "the champion has translated": (evidence, "_champion", "after"),
    "scored": (promoting, "gather", "after"),
    "judged": (promoting, "judge", "after"),
    "the decision is about to be an artifact": ("log_model_artifact", None, "before"),
    "the decision is an artifact": ("log_model_artifact", None, "after"),
    "one gate is a tag": ("set_model_version_tag", None, "after"),
    "all gates are tags": ("set_model_version_tag", champions.DECISION, "before"),
    "the decision is a tag": (promoting, "record", "after"),
    "about to move": (promoting, "move", "before"),
    "the history is about to be written": ("set_registered_model_tag", None, "before"),
    "the history is written": ("set_registered_model_tag", None, "after"),
    "the alias is about to move": ("set_registered_model_alias", None, "before"),
    "the alias has moved": ("set_registered_model_alias", None, "after"),
    "all is done": (promoting, "move", "after"),
}
ROLLBACK = {
    "nothing is written": ("set_model_version_tag", None, "before"),
    "the version is marked": ("set_model_version_tag", None, "after"),
    "the alias is about to move": ("set_registered_model_alias", None, "before"),
    "the alias has moved": ("set_registered_model_alias", None, "after"),
    "the history is about to be cut": ("set_registered_model_tag", None, "before"),
    "the history is cut": ("set_registered_model_tag", None, "after"),
}
Step = tuple[Any, str | None, str]


class Stopped(Exception):
    """What a test raises in the middle."""


def strike(how: str) -> None:
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    raise Stopped


@contextmanager
def striking(step: Step, how: str) -> Iterator[None]:
    """Let the process end, or an error be raised, before or after the function of a step."""
    from mlflow import MlflowClient

    where, name, when = step
    place, function = (MlflowClient, where) if isinstance(where, str) else (where, name or "")
    real = getattr(place, function)

    def struck(*args: Any, **kwargs: Any) -> Any:
        if isinstance(where, str) and name is not None and name not in args:
            return real(*args, **kwargs)
        if when == "before":
            strike(how)
        result = real(*args, **kwargs)
        strike(how)
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(place, function, struck)
        yield


@contextmanager
def looked_up() -> Iterator[None]:
    """Planted translations without a fresh process."""

    def answer(folder: Path, parts: dict[str, list[str]], decoding: object) -> dict[str, list[str]]:
        table = read_json(next(registry.weights_in(folder).glob("*/planted.json")))["table"]
        return {name: [table[text] for text in texts] for name, texts in parts.items()}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shipped, "_ask", answer)
        yield


def promoted(world: World, number: str, step: Step | None = None, how: str = "") -> str:
    with looked_up():
        if step is None:
            return world.promote(number).verdict
        with striking(step, how):
            return world.promote(number).verdict


def rolled_back(world: World, step: Step | None = None, how: str = "") -> str:
    if step is None:
        return registry.roll_back(world.store, "doctune", "漏译")[1].number
    with striking(step, how):
        return registry.roll_back(world.store, "doctune", "漏译")[1].number


@pytest.fixture(scope="module")
def template(fresh_mlruns: Path, tmp_path_factory: pytest.TempPathFactory) -> World:
    """Version 1 is champion, version 2 is better."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        world = World.make(fresh_mlruns, tmp_path_factory.mktemp("template") / "project")
        world.plant("first", clumsy)
        assert promoted(world, "1") == "passed"
        world.plant("second", perfect)
    return world


@pytest.fixture
def world(template: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return template.copied(tmp_path / "project")


@pytest.mark.slow
def test_a_promotion_that_meets_an_error_at_any_step_loses_no_champion(world: World) -> None:
    for name, step in PROMOTION.items():
        with pytest.raises(Stopped):
            promoted(world, "2", step, "raised")
        check(world, name)


@pytest.mark.slow
def test_a_promotion_killed_at_any_step_loses_no_champion(world: World) -> None:
    for name, step in PROMOTION.items():
        assert dies(_promote, world.root, world, step), name
        check(world, name)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["raised", "killed"])
def test_a_rollback_stopped_at_any_step_loses_no_champion(world: World, how: str) -> None:
    assert promoted(world, "2") == "passed"
    for name, step in ROLLBACK.items():
        if how == "killed":
            assert dies(_roll_back, world.root, world, step), name
        else:
            with pytest.raises(Stopped):
                rolled_back(world, step, how)
        champion = world.champion()
        assert champion in ("1", "2"), name
        if champion == "2":
            assert rolled_back(world) == "1", name
        assert world.champion() == "1", name
        with pytest.raises(DoctuneError, match="wanted a champion before version 1"):
            rolled_back(world)
        with looked_up():
            assert world.promote("2", force="再试一次").verdict == "forced", name
        assert world.champion() == "2", name


def check(world: World, name: str) -> None:
    """One valid champion, the old or the new; the next promotion works. Then version 1 is champion again."""
    champion = world.champion()
    assert champion in ("1", "2"), name
    assert promoted(world, "2") == ("passed" if champion == "1" else "champion"), name
    assert world.champion() == "2", name
    assert [reign.version for reign in champions.history(world.store, "doctune")] == ["1", "2"], name
    assert rolled_back(world) == "1", name
    for key in resolve(world.store, "doctune", "2").tags:
        if key in (champions.ROLLED_BACK, champions.DECISION) or key.startswith(champions.GATE):
            world.store.client.delete_model_version_tag("doctune", "2", key)
    shutil.rmtree(world.places.memo)


# --- processes of their own; a server that has imported what takes long makes them


def server() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mlflow.pyfunc", "sacrebleu", "scipy.sparse", "tests.test_faults"])
    return context


def _promote(root: Path, world: World, step: Step) -> None:
    promoted(world, "2", step, "killed")


def _roll_back(root: Path, world: World, step: Step) -> None:
    rolled_back(world, step, "killed")


def _in_child(work: Callable[..., Any], world: World, steps: str, name: str) -> None:
    work(world.root, world.again(), {"_promote": PROMOTION, "_roll_back": ROLLBACK}[steps][name])


def dies(work: Callable[..., Any], root: Path, world: World, step: Step) -> bool:
    """Whether the work, in a process of its own, was ended by SIGKILL at this step."""
    steps = PROMOTION if work is _promote else ROLLBACK
    name = next(key for key, value in steps.items() if value is step)
    child = server().Process(target=_in_child, args=(work, bare(world), work.__name__, name))
    child.start()
    child.join(timeout=1500)
    assert child.exitcode is not None, "it hangs"
    return child.exitcode == -signal.SIGKILL


def bare(world: World) -> World:
    """Without the connection to MLflow, which stays in this process."""
    from dataclasses import replace

    return replace(world, store=None)  # type: ignore[arg-type]  # `again` opens one


def _race(world: World, number: str, results: Any) -> None:
    with looked_up():
        decision = world.again().promote(number)
    results.put((number, decision.verdict, decision.champion))


@pytest.mark.slow
@pytest.mark.parametrize("numbers", [("2", "2"), ("2", "3")], ids=["the same version", "two versions"])
def test_two_promotions_at_once_are_one_after_the_other(world: World, numbers: tuple[str, str]) -> None:
    if "3" in numbers:
        world.plant("third", lambda en, zh: perfect(en, zh).replace("。", "！"))
    context = server()
    results = context.Queue()
    children = [context.Process(target=_race, args=(bare(world), number, results)) for number in numbers]
    for child in children:
        child.start()
    said = [results.get(timeout=1500) for _ in children]
    for child in children:
        child.join(timeout=60)
    (first, verdict, against), (second, later, met) = said
    assert (verdict, against) == ("passed", "1"), said
    assert met == first, "the second one meets the first one's champion"
    wanted = {("2", "2"): "champion", ("2", "3"): "refused", ("3", "2"): "passed"}
    assert later == wanted[first, second], said
    assert world.champion() == "2", "the better of the two, whichever came first"


@pytest.mark.slow
def test_a_killed_promotion_leaves_no_model_running(world: World, tmp_path: Path) -> None:
    """Killed while the candidate translates, in its real fresh process: that one ends, too."""
    noted = tmp_path / "pid"
    hanging = world.plant("hangs", perfect, pid=str(noted))
    child = server().Process(target=_hang, args=(bare(world), hanging.number))
    child.start()
    wait_for(noted.exists)
    pid = int(noted.read_text(encoding="utf-8"))
    os.kill(pid, 0)
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    child.join(timeout=60)
    wait_for(lambda: not Path(f"/proc/{pid}").exists())
    assert world.champion() == "1" and promoted(world, "2") == "passed"


def _hang(world: World, number: str) -> None:
    world.again().promote(number)


def wait_for(what: Callable[[], bool], seconds: float = 900) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "did not happen"
        time.sleep(0.2)
