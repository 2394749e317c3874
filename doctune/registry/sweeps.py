"""A sweep in MLflow: a run for the study, and nested in it one for each trial with its knobs, curves, value and state.

    with sweep_run(store, study.id, study.name, {"trials": 16, ...}) as parent:
        with trial_run(store, parent.run_id, study.id, 3, {"train.learning_rate": 3e-4}) as run:
            run.log({"eval_loss": 2.4}, step=20)
            settle(store, run, "pruned", 2.4)
        log_study(store, parent.run_id, {"best_valid_loss": 2.18}, 4, files)
        parent.finished = True

A sweep that is started again goes on in the same runs; a trial that ended early is KILLED there, one that could not be
trained FAILED.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from doctune.files import hash_text
from doctune.registry.lineage import environment
from doctune.registry.runs import TrainingRun, training_run
from doctune.registry.store import Store, told
from doctune.registry.tables import log_table
from doctune.sweeping.params import MOST_TRIALS

if TYPE_CHECKING:
    from mlflow.entities import Run

SWEEP = "doctune.sweep"
TRIAL_STATE = "doctune.trial_state"
_NUMBER = "doctune.trial"
_SOURCE = {"mlflow.source.name": "doctune sweep"}
_STATUS = {"complete": "FINISHED", "pruned": "KILLED", "failed": "FAILED"}


@dataclass
class SweepRun:
    """The open run of a study; KILLED when it is left without being `finished`."""

    run_id: str
    finished: bool = False


@contextmanager
def sweep_run(store: Store, study_id: str, name: str, params: Mapping[str, Any]) -> Iterator[SweepRun]:
    """Open the run of a study, made when there is none. It ends FINISHED, FAILED on an error, else KILLED."""
    run = SweepRun(_open(store, study_id, name, params))
    failed = False
    try:
        yield run
    except Exception:
        failed = True
        raise
    finally:
        _end(store, run.run_id, "FAILED" if failed else "FINISHED" if run.finished else "KILLED")


def trial_run(
    store: Store, parent: str, study_id: str, number: int, params: Mapping[str, Any]
) -> AbstractContextManager[TrainingRun]:
    """Open the run of one trial, nested in its study's; the same again when the trial was cut short."""
    tags = {"mlflow.parentRunId": parent, _NUMBER: str(number), **_SOURCE}
    return training_run(store, hash_text("trial", study_id, str(number)), params, tags, f"trial-{number}")


@told
def settle(store: Store, run: TrainingRun, state: str, value: float | None) -> None:
    """Say how a trial ended, and its value."""
    run.status = _STATUS[state]
    store.client.set_tag(run.run_id, TRIAL_STATE, state)
    if value is not None:
        store.client.log_metric(run.run_id, "value", value)


@told
def settled(store: Store, parent: str) -> set[int]:
    """Numbers of the trials of which MLflow knows how they ended."""
    query = f"tags.`mlflow.parentRunId` = '{parent}'"
    found = store.client.search_runs([store.experiment_id], query, max_results=MOST_TRIALS)
    return {int(run.data.tags[_NUMBER]) for run in found if TRIAL_STATE in run.data.tags}


@told
def log_study(store: Store, parent: str, metrics: Mapping[str, float], step: int, files: Sequence[Path] = ()) -> None:
    """Log what the study knows after `step` trials; a file that is there already is replaced."""
    for key, value in metrics.items():
        store.client.log_metric(parent, key, value, step=step)
    for file in files:
        store.client.log_artifact(parent, str(file))


@told
def log_trials(
    store: Store, parent: str, trials: Mapping[str, Sequence[Any]], importances: Mapping[str, float]
) -> None:
    """Log the table of all trials and the one of the knobs' importances."""
    shares: Mapping[str, Sequence[Any]] = {"knob": list(importances), "importance": list(importances.values())}
    for name, columns in (("trials.json", trials), ("importances.json", shares)):
        if any(columns.values()):
            log_table(store, parent, name, columns)


@told
def _open(store: Store, study_id: str, name: str, params: Mapping[str, Any]) -> str:
    run = _find(store, study_id)
    if run is None:
        tags = {SWEEP: study_id, **_SOURCE, **environment(store.root)}
        run = store.client.create_run(store.experiment_id, None, tags, name)
    else:
        store.client.update_run(run.info.run_id, status="RUNNING")
    for key, value in params.items():
        if key not in run.data.params:
            store.client.log_param(run.info.run_id, key, str(value)[:6000])
    return str(run.info.run_id)


def _find(store: Store, study_id: str) -> "Run | None":
    query = f"tags.`{SWEEP}` = '{study_id}'"
    return next(iter(store.client.search_runs([store.experiment_id], query, max_results=1)), None)


@told
def _end(store: Store, run_id: str, status: str) -> None:
    store.client.set_terminated(run_id, status)
