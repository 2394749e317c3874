"""dvc.yaml as a Prefect flow: one task per stage, run through DVC, which alone decides what is fresh.

    from flows.run import run_pipeline
    run_pipeline(preset="k8s-small", overrides=["train.epochs=2"], refresh=True)     # what `doctune run` does

A task ends as Cached (nothing to do, no process started), Restored (taken from DVC's cache), Completed (run), Failed or
Cancelled; what needs a failed stage does not run. Independent stages run side by side.
"""

import contextvars
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.context import get_run_context
from prefect.exceptions import TerminationSignal
from prefect.states import Cancelled, Completed, Failed

from doctune.errors import DoctuneError
from doctune.registry.changes import REGISTERED_BY
from doctune.registry.lineage import LOCK_OF_SOURCES
from flows.checkout import only_flow_run
from flows.child import GRACE_SECONDS, Stop
from flows.dead_locks import drop_dead_locks
from flows.graph import Dag, Stage
from flows.progress import shown_progress
from flows.stage_run import StageFailed, StageStopped, run_stage
from flows.summary import Row, RunSummary, summarise

if TYPE_CHECKING:
    from prefect.futures import PrefectFuture

    from flows.reconcile import Settled

SOURCE_LOCK = Path(LOCK_OF_SOURCES)
WATCH_SECONDS = 3.0


@flow(name="pipeline", persist_result=False)
def pipeline(preset: str | None = None, overrides: list[str] | None = None, refresh: bool = False) -> Any:
    """Bring the project in the current folder up to date.

    preset: a name in presets/, written into params.yaml with `overrides` laid over it; without either, params.yaml is
    used as it stands.
    overrides: "section.key=value", each.
    refresh: ask where the source's branch, tag or web site stands now, and move source.lock.yaml there.

    At its end the challenger is judged and, if it passes its gates, becomes champion (flows/promote.py); that it was
    refused fails nothing.

    Returns a RunSummary. Failed (with the stage's real error) when a stage failed, something is wrong with the
    configuration, or another flow run holds this checkout; Cancelled when it was cancelled in Prefect, or by SIGINT or
    SIGTERM.
    """
    return on_this_checkout(lambda root, run_id, stop: _run(root, run_id, stop, preset, overrides or [], refresh))


def on_this_checkout(work: Callable[[Path, str, Stop], Any]) -> Any:
    """Do the work of a flow as the only one on the project in the current folder; returns what it does, or how it failed.

    `work` gets the project's root, the flow run's id, and what asks it to end.
    """
    root = Path.cwd()
    logging.getLogger("prefect.task_runs").addFilter(_without_empty_traceback)
    run_id = str(get_run_context().flow_run.id)  # type: ignore[union-attr]  # inside a flow there is one
    stop = Stop()
    try:
        with only_flow_run(root), _watched(run_id, stop):
            return work(root, run_id, stop)
    except DoctuneError as error:
        get_run_logger().error(str(error))
        return ended_by(error, stop)
    except (KeyboardInterrupt, TerminationSignal):
        if "PREFECT__FLOW_RUN_ID" in os.environ:  # a worker ends this process, and says in what state
            raise
        return Cancelled(message="interrupted from outside (SIGINT or SIGTERM)")


def _run(root: Path, run_id: str, stop: Stop, preset: str | None, overrides: list[str], refresh: bool) -> Any:
    write_configuration(preset, overrides)
    dag = Dag(root)
    commands = dag.commands()
    rows, version = bring_up_to_date(root, dag, run_id, stop, refresh)
    ended, said = failure(rows, stop), ""
    if ended is None:
        from flows.promote import promote_in_pipeline

        outcome = promote_in_pipeline(root, commands, stop)
        said, version = outcome.markdown or f"Not judged: {outcome.error}", outcome.version or version
        if outcome.error:  # a refusal is none
            error = DoctuneError(f"the pipeline is up to date, but the challenger was not judged: {outcome.error}")
            ended = ended_by(error, stop)
    summary = summarise(root, commands, rows, version, said)
    _show(summary)
    return ended or summary


def write_configuration(preset: str | None, overrides: list[str]) -> None:
    """Write what was asked for into params.yaml, before anything reads it."""
    if preset is not None or overrides:
        from doctune.params import configure

        configure(preset, overrides)
    if preset is not None:
        os.environ["DOCTUNE_PRESET"] = preset  # stages tag the MLflow run with it


def bring_up_to_date(
    root: Path, dag: Dag, run_id: str, stop: Stop, refresh: bool = False, needed_by: str | None = None
) -> tuple[list[Row], str | None]:
    """Run every stage, or those that the stage `needed_by` needs; returns how each ended, and the version in words."""
    logger = get_run_logger()
    if drop_dead_locks(root):
        logger.info("removed what a killed DVC process had left in .dvc/tmp/rwlock")
    if dag.reads(SOURCE_LOCK):
        _lock_source(root, refresh)
    rows: dict[str, Row] = {}
    stages = dag.stages() if needed_by is None else dag.needed_by(needed_by)
    versions: list[str] = []
    run = _stage_task(dag, root, run_id, stop, rows, versions)
    futures: dict[str, PrefectFuture[State]] = {}
    try:
        for stage in stages:
            named = run.with_options(name=stage.name, task_run_name=stage.name)
            futures[stage.name] = named.submit(stage.name, wait_for=[futures[name] for name in stage.needs])
        for future in futures.values():
            future.wait()
    except BaseException:
        stop.request("the flow was interrupted")
        for future in futures.values():
            future.wait(GRACE_SECONDS + 5)
        raise
    return [_row(stage, rows) for stage in stages], versions[0] if versions else None


def ended_by(error: DoctuneError, stop: Stop) -> State:
    """The state of a flow that an error ended: of one that was asked to end, that."""
    return Cancelled(message=stop.reason) if stop.requested() else Failed(message=str(error), data=error)


def failure(rows: list[Row], stop: Stop) -> State | None:
    """The state of a flow whose stages ended so, unless all went well."""
    failures = [row.message for row in rows if row.state == "Failed"]
    if failures:
        return Failed(message="; ".join(failures), data=StageFailed("; ".join(failures)))
    return Cancelled(message=stop.reason) if stop.requested() else None


def _stage_task(dag: Dag, root: Path, run_id: str, stop: Stop, rows: dict[str, Row], versions: list[str]) -> Any:
    """The Prefect task of this run: brings the stage it is given up to date, and notes how in `rows`.

    `versions` comes to hold the registered version of the model, in words.
    """

    @task(cache_policy=NO_CACHE, persist_result=False)
    def stage(name: str) -> State:
        logger = get_run_logger()
        begin = time.monotonic()

        def end(state: str, message: str) -> None:
            rows[name] = Row(name, state, time.monotonic() - begin, message)

        try:
            if stop.requested():
                raise StageStopped(f"stage {name} was not started: {stop.reason}")
            verdict = dag.judge(name)
            if not verdict.stale:
                state, message = "Cached", "nothing changed"
            else:
                message = _some(verdict.stale)
                logger.info("%s: %s", name, message)
                with shown_progress(root, name):
                    ran = run_stage(
                        root, name, checkout=verdict.restorable, log=logger.info, stop=stop, flow_run_id=run_id
                    )
                state = ran.state
            if name in REGISTERED_BY:  # what they write to MLflow a cache hit skips
                settled = reconcile_mlflow(root, dag, name)
                versions[:] = [settled.version]
                for repaired in settled.repaired:
                    logger.info("MLflow: %s", repaired)
        except StageStopped as error:
            end("Cancelled", str(error))
            return Cancelled(message=str(error))
        except DoctuneError as error:
            end("Failed", str(error))
            return Failed(message=str(error))  # Prefect logs it
        except Exception as error:  # a full disk, a bug: the run must not count as one that went well
            end("Failed", f"stage {name}: {type(error).__name__}: {error}")
            raise
        end(state, message)
        return Completed(name=state, message=message)

    return stage


def reconcile_mlflow(root: Path, dag: Dag, name: str) -> "Settled":
    """Repair what MLflow lacks of the model once the stage `name` is up to date."""
    from flows.reconcile import reconcile_mlflow as reconcile

    commands = dag.commands()
    return reconcile(root, commands["register"], commands["export"], exported=name == "export")


@task(
    name="source",
    task_run_name="source",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=2,
    retry_delay_seconds=[5, 20],
)
def update_source(root: Path) -> State:
    """Move source.lock.yaml to where the source stands now."""
    from doctune.section import load_section
    from doctune.sources.lock import update
    from doctune.sources.params import CrawlParams

    old, new = update(load_section(CrawlParams, "crawl"), root / SOURCE_LOCK)
    message = "nothing changed" if old == new else f"{old or 'nothing'} -> {new}"
    return Completed(name="Cached" if old == new else "Completed", message=message)


def _lock_source(root: Path, refresh: bool) -> None:
    from doctune.section import load_section
    from doctune.sources.lock import locked
    from doctune.sources.params import CrawlParams

    if not refresh:
        with suppress(DoctuneError):  # no entry for this source, or one for another url or ref
            locked(load_section(CrawlParams, "crawl"), root / SOURCE_LOCK)
            return
    update_source(root)


@contextmanager
def _watched(run_id: str, stop: Stop) -> Iterator[None]:
    """Ask Prefect every few seconds whether the run is being cancelled: nobody else tells a run in a terminal."""
    done = threading.Event()

    def watch() -> None:
        with get_client(sync_client=True) as client:
            while not done.wait(WATCH_SECONDS):
                with suppress(Exception):  # a server that restarts must not end the run
                    state = client.read_flow_run(run_id).state  # type: ignore[arg-type]  # a string is taken
                    if state is not None and (state.is_cancelling() or state.is_cancelled()):
                        stop.request("the run was cancelled in Prefect")

    thread = threading.Thread(target=contextvars.copy_context().run, args=(watch,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()


def _without_empty_traceback(record: logging.LogRecord) -> bool:
    """Prefect logs a returned Failed state with the traceback of no exception, shown as "NoneType: None"."""
    if record.exc_info and record.exc_info[0] is None:
        record.exc_info = None
    return True


def _row(stage: Stage, rows: dict[str, Row]) -> Row:
    return rows.get(stage.name) or Row(stage.name, "Not run", 0.0, "what it needs is not up to date")


def _some(reasons: tuple[str, ...]) -> str:
    return ", ".join(reasons[:4]) + (f" and {len(reasons) - 4} more" if len(reasons) > 4 else "")


def _show(summary: RunSummary) -> None:
    from prefect.artifacts import create_markdown_artifact

    create_markdown_artifact(summary.markdown, key="summary", description="What this run did, and the scores")
