"""One MLflow run for one training, found by the fingerprint of what went into it (`train_key`), never by an id.

    with training_run(store, train_key, {"train.learning_rate": 3e-4}) as run:
        run.log({"loss": 2.31, "eval_loss": 2.4}, step=20)
    find_run(store, train_key).info.run_id

A run that was cut short is taken up where it stopped. One that was lost is made again from the curves that train keeps.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from doctune.curves import read_curves
from doctune.errors import DoctuneError, warn
from doctune.registry.lineage import environment
from doctune.registry.store import Store, told

if TYPE_CHECKING:
    from mlflow.entities import Run

TRAIN_KEY = "doctune.train_key"
NOT_CURVES = ("step", "seconds")
_BATCH = 1000  # metrics a request, MLflow's limit


class TrainingRun:
    """A run that is being written. Steps that it has already are left out, so a resumed curve has no zigzag."""

    def __init__(self, store: Store, run_id: str, last_steps: dict[str, int]) -> None:
        self.run_id = run_id
        self.status = "FINISHED"  # what the run ends as when nothing is raised; the caller may know better
        self.complete = True  # False once MLflow stopped answering: the rest is replayed from the curves
        self._store = store
        self._last = last_steps

    def log(self, metrics: Mapping[str, float | None], step: int) -> None:
        """Log a point of each metric (None: not measured). A server that fails costs a warning, not the training."""
        if not self.complete:
            return
        fresh = {key: value for key, value in metrics.items() if value is not None and step > self._last.get(key, -1)}
        points = [(key, float(value), _now(), step) for key, value in fresh.items()]
        try:
            _log_points(self._store, self.run_id, points)
        except DoctuneError as error:
            self.complete = False
            warn(f"{error}; training goes on, and the run is completed afterwards")
        self._last |= dict.fromkeys(fresh, step)


@contextmanager
def training_run(
    store: Store,
    train_key: str,
    params: Mapping[str, Any],
    tags: Mapping[str, str] | None = None,
    name: str | None = None,
) -> Iterator[TrainingRun]:
    """Open the run of `train_key`, the unfinished one if there is one, and record system metrics meanwhile.

    It ends FINISHED, FAILED on an error or KILLED on an interrupt. `params` may be nested; the run's name begins with its `kind`.
    """
    from mlflow.system_metrics import system_metrics_monitor as system

    run = _begin(store, train_key, params, {**environment(store.root), **(tags or {})}, None, name)
    steps = _last_steps(store, run)
    monitors: Any = system  # MLflow leaves it untyped
    monitor = monitors.SystemMetricsMonitor(run.info.run_id, resume_logging=bool(steps), tracking_uri=store.uri)
    monitor.start()
    training = TrainingRun(store, run.info.run_id, steps)
    status = "KILLED"
    try:
        yield training
        status = training.status if training.complete else "RUNNING"
    except Exception:
        status = "FAILED"
        raise
    finally:
        with suppress(Exception):  # MLflow's own thread must not hide what happened to the training
            monitor.finish()
        try:
            _end(store, training.run_id, status)
        except DoctuneError as error:
            warn(f"{error}; the run is completed afterwards")


@told
def find_run(store: Store, train_key: str) -> "Run | None":
    """The newest finished run of `train_key`, or None."""
    return next((run for run in _runs(store, train_key) if run.info.status == "FINISHED"), None)


@told
def replay_run(
    store: Store, train_key: str, params: Mapping[str, Any], curves: Path, tags: Mapping[str, str] | None = None
) -> str:
    """Make the run of `train_key` again, or complete it, from the curves (steps and times are kept); returns its id."""
    rows = [(step, values.pop("seconds", 0.0), values) for step, values in read_curves(curves)]
    length = max((seconds for _, seconds, _ in rows), default=0.0)
    start = _now() - int(length * 1000)
    run = _begin(store, train_key, params, {"doctune.replayed": "true", **(tags or {})}, start)
    start = run.info.start_time
    last = _last_steps(store, run)
    points = [
        (key, value, start + int(seconds * 1000), step)
        for step, seconds, values in rows
        for key, value in values.items()
        if step > last.get(key, -1)
    ]
    _log_points(store, run.info.run_id, points)
    _end(store, run.info.run_id, "FINISHED")
    return str(run.info.run_id)


@told
def _begin(
    store: Store,
    train_key: str,
    params: Mapping[str, Any],
    tags: Mapping[str, str],
    start: int | None,
    name: str | None = None,
) -> "Run":
    from mlflow.entities import Param, RunTag

    client = store.client
    run = next((run for run in _runs(store, train_key) if run.info.status != "FINISHED"), None)
    if run is None:
        run = client.create_run(
            store.experiment_id, start, {TRAIN_KEY: train_key, **_ours(tags)}, name or f"train-{train_key[:8]}"
        )
    else:
        client.update_run(run.info.run_id, status="RUNNING")
        own = {key: value for key, value in _ours(tags).items() if key != "doctune.replayed"}
        client.log_batch(run.info.run_id, tags=[RunTag(key, value) for key, value in own.items()])
    missing = [Param(key, value) for key, value in _texts(params) if key not in run.data.params]
    for index in range(0, len(missing), 100):
        client.log_batch(run.info.run_id, params=missing[index : index + 100])
    return run


@told
def _end(store: Store, run_id: str, status: str) -> None:
    if status == "RUNNING":
        return
    store.client.set_terminated(run_id, status)


@told
def _log_points(store: Store, run_id: str, points: list[tuple[str, float, int, int]]) -> None:
    from mlflow.entities import Metric

    metrics = [Metric(*point) for point in points]
    for index in range(0, len(metrics), _BATCH):
        store.client.log_batch(run_id, metrics=metrics[index : index + _BATCH])


def _runs(store: Store, train_key: str) -> list["Run"]:
    found = store.client.search_runs(
        [store.experiment_id],
        f"tags.`{TRAIN_KEY}` = '{train_key}'",
        order_by=["attributes.start_time DESC"],
        max_results=100,
    )
    return list(found)


def _last_steps(store: Store, run: "Run") -> dict[str, int]:
    """The last step logged of each curve."""
    keys = [key for key in run.data.metrics if not key.startswith("system/")]
    return {key: max(metric.step for metric in store.client.get_metric_history(run.info.run_id, key)) for key in keys}


def _texts(params: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in params.items():
        if isinstance(value, Mapping):
            yield from _texts(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", str(value)[:6000]


def _ours(tags: Mapping[str, str]) -> dict[str, str]:
    """Our tags, and MLflow's own ones where its UI shows them in columns of their own."""
    shown = {"mlflow.source.name": "doctune train", "mlflow.source.type": "LOCAL"}
    if (commit := tags.get("git_commit", "unknown")) != "unknown":
        shown["mlflow.source.git.commit"] = commit
    return {**shown, **{key: str(value) for key, value in tags.items()}}


def _now() -> int:
    return time.time_ns() // 1_000_000
