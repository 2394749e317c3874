"""Search for better knobs of `train`: a Prefect task and a nested MLflow run for each trial, the best as a preset.

    from flows.run import run_sweep
    run_sweep(preset="k8s-small", overrides=["sweep.trials=30"], name="k8s-better")      # what `doctune sweep` does

    what train needs, made fresh -> trials, one after another, each a process of its own -> presets/k8s-better.yaml

The study lies in `.doctune/sweeps/`; a sweep that was killed goes on where it was, in the middle of a trial even.
No stage of the pipeline: what is best is a preset, and whether to use it a person's decision.
"""

import math
import shutil
import sys
import tempfile
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact, create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed, Failed

from doctune.errors import DoctuneError
from doctune.files import hash_path, hash_text
from doctune.params import Params, read_params
from doctune.sweeping.points import read_point
from doctune.sweeping.preset import check_name, write_preset
from doctune.sweeping.report import Report, outcome
from doctune.sweeping.space import check_space, starting_values, trial_params, with_values
from doctune.sweeping.study import Result, Study, Trial, open_study
from flows.child import GRACE_SECONDS, Stop, run_child
from flows.graph import Dag, options_of
from flows.pipeline import bring_up_to_date, failure, on_this_checkout, write_configuration
from flows.stage_run import StageStopped, child_environment, own_error
from tasks.train import CHECKPOINTS, train_key

if TYPE_CHECKING:
    from doctune.registry.runs import TrainingRun
    from doctune.registry.store import Store

STUDIES = Path(".doctune") / "sweeps"
MOST_FAILURES = 3  # in a row: then the cause is not what was drawn


@dataclass(frozen=True)
class Found:
    """What a sweep came to: its report, and the preset, None where no trial ran to its end."""

    study: str
    report: Report
    preset: Path | None

    @property
    def text(self) -> str:
        written = f"written: {self.preset}; `doctune run --preset {self.preset.stem}` uses it\n" if self.preset else ""
        return f"study {self.study}\n{self.report.text()}{written}"


@flow(name="sweep", persist_result=False)
def sweep(preset: str | None = None, overrides: list[str] | None = None, name: str | None = None) -> Any:
    """Bring what `train` needs up to date, then run trials until the study has as many as `sweep.trials` says.

    preset, overrides: as the pipeline flow takes them. name: of the study and of the preset that it ends in; by default
    one made of the fingerprint of base, data, code, train section and space.

    Returns a Found. Failed when a stage or three trials in a row failed; Cancelled when it was: both go on when started again.
    """
    return on_this_checkout(lambda root, run_id, stop: _run(root, run_id, stop, preset, overrides or [], name))


@dataclass(frozen=True)
class _Search:
    """What every trial of this run needs."""

    root: Path
    run_id: str
    stop: Stop
    params: Params
    base: Path
    splits: Path
    study: Study
    store: "Store"
    parent: str
    fingerprint: str


def _run(root: Path, run_id: str, stop: Stop, preset: str | None, overrides: list[str], name: str | None) -> Any:
    logger = get_run_logger()
    write_configuration(preset, overrides)
    params = read_params()
    check_space(params.train, params.sweep)
    dag = Dag(root)
    rows, _ = bring_up_to_date(root, dag, run_id, stop, needed_by="train")
    if ended := failure(rows, stop):
        return ended
    from doctune.registry.store import connect
    from doctune.registry.sweeps import sweep_run

    options = options_of(dag.commands()["train"])
    base, splits = Path(options["base"]), Path(options["splits"])
    fingerprint = _fingerprint(params, base, splits)
    name = name or f"sweep-{fingerprint[:12]}"
    check_name(name)
    study = open_study(STUDIES / f"{name}.db", name, fingerprint, params.train, params.sweep)
    again = study.take_up()
    logger.info("study %s: %d of %d trials ended", name, len(study.results()), params.sweep.trials)
    if params.sweep.pruner != "none" and not params.sweep.prunes:
        logger.warning(
            "sweep.pruner is %s, but a warm-up of %d leaves none of %d evaluations to end a trial at: all run to their end",
            params.sweep.pruner, params.sweep.warmup, params.sweep.evaluations,
        )  # fmt: skip
    for number in again:
        logger.info("trial %d was cut short and is taken up", number)
    knobs = {f"sweep.{key}": value for key, value in params.sweep.model_dump().items()}
    with sweep_run(store := connect(root), study.id, name, knobs) as run:
        search = _Search(root, run_id, stop, params, base, splits, study, store, run.run_id, fingerprint)
        if not _search(search):
            return Cancelled(message=f"{stop.reason}; `doctune sweep` goes on where it was")
        found = _account(search)
        run.finished = True
    create_markdown_artifact(found.report.markdown(), key="sweep", description=f"The trials of study {name}")
    return found


def _search(search: _Search) -> bool:
    """Run trials until there are enough; False when asked to stop before."""
    from doctune.registry.sweeps import log_study

    wanted, failed = search.params.sweep.trials, list[int]()
    progress = cast(Any, create_progress_artifact(_percent(search), key="trials", description="Trials that ended"))
    while not search.stop.requested() and (trial := search.study.next_trial()):
        result = _in_a_task(search, trial)
        if result is None:
            return False
        update_progress_artifact(progress, _percent(search))
        best = search.study.best()
        if best is not None and best.value is not None:
            try:
                log_study(search.store, search.parent, {"best_valid_loss": best.value}, len(search.study.results()))
            except DoctuneError as error:
                get_run_logger().warning("%s; the sweep goes on", error)
        failed = [*failed, trial.handle.number] if result.state == "failed" else []
        if len(failed) == MOST_FAILURES:
            search.study.try_again(failed)
            raise DoctuneError(
                f"{len(failed)} trials in a row failed, the last (trial {result.number}): {result.why}; mend that and start the sweep "
                "again, it tries them anew"
            )
    return len(search.study.results()) >= wanted


def _percent(search: _Search) -> float:
    return min(100.0, round(100 * len(search.study.results()) / search.params.sweep.trials, 1))


def _in_a_task(search: _Search, trial: Trial) -> Result | None:
    """Run one trial as a task of the flow; None when it was asked to stop."""
    ended: list[Result] = []

    @task(cache_policy=NO_CACHE, persist_result=False)
    def run_trial() -> State:
        try:
            result = _train(search, trial, get_run_logger().info)
        except StageStopped as error:
            return Cancelled(message=str(error))
        ended.append(result)
        if result.state == "failed":
            return Failed(message=f"trial {result.number}: {result.why}")
        return Completed(name="Completed" if result.state == "complete" else "Pruned", message=outcome(result))

    name = f"trial-{trial.number}"
    future = run_trial.with_options(name=name, task_run_name=name).submit()
    try:
        future.wait()
    except BaseException:
        search.stop.request("the flow was interrupted")
        future.wait(GRACE_SECONDS + 5)
        raise
    if not ended and not search.stop.requested():
        future.result()  # raises what went wrong
    return ended[0] if ended else None


def _train(search: _Search, trial: Trial, log: Callable[[str], None]) -> Result:
    """Train with the trial's values until it ends or is pruned, and note how it went with study and MLflow.

    Raises StageStopped when the flow is asked to stop: the trial stays open, and its checkpoints lie ready.
    """
    from doctune.registry.sweeps import settle, trial_run

    params, study = search.params, search.study
    if _fingerprint(params, search.base, search.splits) != search.fingerprint:
        raise DoctuneError(
            "base, data or code changed under the sweep; start it again for a study of what there is now (under another --name, where it has one)"
        )
    knobs = trial_params(params.train, params.sweep, trial.values, f"trial {trial.number}")
    work = (
        CHECKPOINTS
        / hash_text("trial", str(params.sweep.evaluations), train_key(knobs, search.base, search.splits))[:16]
    )
    log(f"trial {trial.number}: " + ", ".join(f"{key}={value}" for key, value in trial.values.items()))
    with trial_run(search.store, search.parent, study.id, trial.number, knobs.model_dump()) as run:
        if trial.same_as is not None:
            result = study.repeat(trial)
        else:
            options = {
                "params": knobs.model_dump_json(),
                "base": str(search.base),
                "splits": str(search.splits),
                "work": str(work),
                "evaluations": str(params.sweep.evaluations),
            }
            command = [sys.executable, "-m", "tasks.trial", *(f"--{key}={value}" for key, value in options.items())]
            result = _follow(search, trial, command, run, log)
        try:
            settle(search.store, run, result.state, result.value)
        except DoctuneError as error:
            run.complete = False  # it stays open, for `_settle_all`
            log(f"{error}; the sweep goes on, and the run is completed at its end")
    shutil.rmtree(work, ignore_errors=True)
    return result


class _NotWorthIt(Exception):
    """The pruner says so; raised out of the reading of a trial's lines, which ends its process."""


def _follow(
    search: _Search, trial: Trial, command: list[str], run: "TrainingRun", log: Callable[[str], None]
) -> Result:
    study = search.study
    lines: deque[str] = deque(maxlen=100)

    def take(line: str) -> None:
        point = read_point(line)
        if point is None:
            lines.append(line)
            log(line)
            return
        step, evaluation = int(point.pop("step")), point.pop("evaluation", None)
        run.log(point, step)
        if evaluation is not None and not study.report(trial, int(evaluation), point["eval_loss"]):
            loss = point["eval_loss"]
            why = "" if math.isfinite(loss) else f"diverged (validation loss {loss}) "
            raise _NotWorthIt(f"{why}at evaluation {int(evaluation)} of {search.params.sweep.evaluations}")

    try:
        environment = child_environment(search.run_id)
        code = run_child(command, cwd=search.root, env=environment, log=take, stop=search.stop)
    except _NotWorthIt as reason:
        return study.pruned(trial, str(reason))
    if search.stop.requested():
        raise StageStopped(f"trial {trial.number} was stopped: {search.stop.reason}")
    return study.complete(trial) if code == 0 else study.failed(trial, own_error(list(lines), code))


def _account(search: _Search) -> Found:
    """Pictures and tables to MLflow, and the best trial as a preset."""
    from doctune.registry.sweeps import log_study, log_trials

    _settle_all(search)
    study, params = search.study, search.params
    report = Report(study.results(), study.best(), study.importances(), starting_values(params.train, params.sweep))
    preset = None
    if report.best is not None:
        values = with_values(params.train, params.sweep, report.best.values, f"trial {report.best.number}")
        preset = write_preset(study.name, params.model_copy(update={"train": values}), _origin(search, report))
    shares = {f"importance/{key}": share for key, share in report.importances.items()}
    with tempfile.TemporaryDirectory(prefix="doctune-") as folder:
        files = [*study.pictures(Path(folder)), *([preset] if preset else [])]
        log_study(search.store, search.parent, shares, len(report.results), files)
    log_trials(search.store, search.parent, report.table(), report.importances)
    return Found(study.name, report, preset)


def _settle_all(search: _Search) -> None:
    """Say in MLflow how those trials ended of which it could not be told then: it was away, or the sweep was killed just there."""
    from doctune.registry.sweeps import settle, settled, trial_run

    params, study = search.params, search.study
    known = settled(search.store, search.parent)
    for result in study.results():
        if result.number not in known:
            knobs = trial_params(params.train, params.sweep, result.values, f"trial {result.number}")
            with trial_run(search.store, search.parent, study.id, result.number, knobs.model_dump()) as run:
                settle(search.store, run, result.state, result.value)


def _origin(search: _Search, report: Report) -> list[str]:
    """Where a preset comes from, as the lines of its header."""
    sweep = search.params.sweep
    length = f"{sweep.max_steps} updates" if sweep.max_steps > 0 else f"{sweep.epochs} epochs"
    data = hash_path(search.splits / "train.jsonl", search.splits / "valid.jsonl")
    return [
        f"Study {search.study.name}, {date.today().isoformat()}; a trial was {length}.",
        *(f"{line[0].upper()}{line[1:]}." for line in report.findings()),
        f"Data {data[:16]} (train.jsonl and valid.jsonl of {search.splits}), base {hash_path(search.base)[:16]}.",
    ]


def _fingerprint(params: Params, base: Path, splits: Path) -> str:
    """Of all that decides what a study's trials come to, but for how many there are."""
    return hash_text(train_key(params.train, base, splits), params.sweep.model_dump_json(exclude={"trials"}))
