"""The pipeline flow from a terminal, or as the child of a scheduled run.

summary = run_pipeline(preset=None, overrides=["train.epochs=2"], refresh=False)
python -m flows.run --set train.epochs=2 --refresh              # the same, in the project in the current folder
"""

import argparse
import atexit
import gc
import importlib
import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from doctune.errors import DoctuneError
from flows.checkout import only_flow_run
from flows.server import connect
from flows.summary import RunSummary
from tasks.stage import fail

if TYPE_CHECKING:
    from doctune.promotion.promoting import Decision
    from flows.sweep import Found


class Interrupted(DoctuneError):
    """The run was cancelled."""

    exit_code = 130


def run_pipeline(preset: str | None, overrides: list[str], refresh: bool, tags: tuple[str, ...] = ()) -> RunSummary:
    """Run the flow in this process, on the project in the current folder.

    Raises DoctuneError with a failed stage's real error, Interrupted when the run was cancelled.
    Talks to the Prefect server that `flows.server.connect` finds. Prefect's log goes to stderr as it comes.
    """
    with flow_module("flows.pipeline", tags) as module:
        return cast(RunSummary, module.pipeline(preset=preset, overrides=overrides, refresh=refresh))


def run_sweep(preset: str | None, overrides: list[str], name: str | None) -> "Found":
    """Run the flow of flows/sweep.py likewise; raises as `run_pipeline` does."""
    with flow_module("flows.sweep") as module:
        return cast("Found", module.sweep(preset=preset, overrides=overrides, name=name))


def run_promotion(version: str, force: str | None, name: str | None) -> "Decision":
    """Run the flow of flows/promote.py likewise; returns what was decided, a refusal too."""
    with flow_module("flows.promote") as module:
        return cast("Decision", module.promote(version=version, force=force, name=name))


@contextmanager
def flow_module(name: str, tags: tuple[str, ...] = ()) -> Iterator[Any]:
    """Yield the module of a flow, imported, with a Prefect server that its run will find."""
    root = Path.cwd()
    atexit.register(gc.freeze)  # else Python searches Prefect's modules for garbage as it ends: half a second
    with only_flow_run(root):
        pass  # refused before a server is started for nothing; the flow takes it for the whole run
    connect(root, meanwhile=lambda: importlib.import_module(name))
    from prefect import tags as tagged
    from prefect.exceptions import CancelledRun
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    module = importlib.import_module(name)
    for worker in ("EventsWorker", "APILogWorker"):
        logging.getLogger(worker).setLevel(logging.ERROR)  # "still processing items" at every end
    # Heartbeats are for the automations of a deployment; waiting for their thread to end costs up to a second.
    with temporary_settings(updates={PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}), tagged(*tags):
        try:
            yield module
        except CancelledRun as error:
            raise Interrupted(str(error)) from None


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m flows.run")
    parser.add_argument("--preset")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--refresh", action="store_true")
    parser.add_argument("--tag", dest="tags", action="append", default=[])
    parser.add_argument("--summary", type=Path, help="write the run's summary here, as JSON")
    options = parser.parse_args()
    try:
        summary = run_pipeline(options.preset, options.overrides, options.refresh, tuple(options.tags))
        if options.summary:
            from doctune.files import write_json

            write_json(options.summary, asdict(summary))
    except DoctuneError as error:
        fail(error)
    print(json.dumps(summary.counts()), file=sys.stderr)


if __name__ == "__main__":
    main()
