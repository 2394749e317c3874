"""The nightly flow: look whether the source moved, and run the pipeline in a clone of its own.

    doctune schedule                       # deploys this as prefect.yaml says, and starts a worker

The pipeline runs as a child process in the clone, with the clone's code; its lines appear in this run's log as they
come. Models land in the project's own MLflow. Afterwards what runs write (source.lock.yaml, dvc.lock, params.yaml) is
committed to the clone's branch.
"""

import logging
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.context import get_run_context
from prefect.states import Failed

from doctune.errors import ERROR_PREFIX, DoctuneError
from doctune.files import read_json
from doctune.locks import hold
from doctune.registry.lineage import LOCK_OF_SOURCES
from doctune.registry.store import tracking_uri
from flows.checkout import SCHEDULED_LOCK, Clone, prepare
from flows.child import Stop, end_with_parent, run_child
from flows.stage_run import child_environment

_PREFIX = re.compile(r"^\d\d:\d\d:\d\d\.\d+ \| [A-Z]+ +\| ")  # of Prefect's console lines: this run's log has its own
STOP_SECONDS = 20.0  # the child has to stop its own stages first


@flow(name="nightly", persist_result=False)
def nightly(preset: str | None = None, overrides: list[str] | None = None) -> Any:
    """Refresh the source and bring the pipeline up to date, in the clone; commits what it wrote when that changed.

    Paths in params.yaml and overrides are seen from the clone: give a local repository by its absolute path.
    """
    project = Path.cwd()
    if "PREFECT__FLOW_RUN_ID" in os.environ:  # under a worker
        end_with_parent()
    run_id = str(get_run_context().flow_run.id)  # type: ignore[union-attr]  # inside a flow there is one
    logger = get_run_logger()
    try:
        with hold(project / SCHEDULED_LOCK, "to start a scheduled run of this project"):
            clone = prepare(project)
            logger.info("clone at %s, project commit %s", clone.root, clone.project_commit[:12])
            summary = _run_pipeline(project, clone, run_id, preset, overrides or [])
            commit = clone.commit(_message(clone, run_id))
            done = f"Committed as `{commit}`." if commit else "Nothing changed: no commit."
            logger.info(done)
            create_markdown_artifact(
                f"{summary['markdown']}\n{done}\n", key="summary", description="What the scheduled run did"
            )
            return {"commit": commit, "stages": {row["name"]: row["state"] for row in summary["stages"]}}
    except DoctuneError as error:
        return Failed(message=str(error), data=error)


def _run_pipeline(project: Path, clone: Clone, run_id: str, preset: str | None, overrides: list[str]) -> Any:
    logger = get_run_logger()
    errors: list[str] = []

    def take(line: str) -> None:
        if line.startswith(ERROR_PREFIX):
            errors.append(line.removeprefix(ERROR_PREFIX))
        logger.log(logging.ERROR if " | ERROR " in line[:30] else logging.INFO, _PREFIX.sub("", line))

    with tempfile.TemporaryDirectory(prefix="doctune-") as folder:
        summary = Path(folder) / "summary.json"
        command = [
            sys.executable,
            "-m",
            "flows.run",
            "--refresh",
            "--tag",
            "scheduled",
            "--tag",
            f"nightly:{run_id}",
            "--summary",
            str(summary),
        ]
        command += ["--preset", preset] if preset is not None else []
        command += [word for override in overrides for word in ("--set", override)]
        stop = Stop()
        code = run_child(
            command, cwd=clone.root, env=_environment(project, clone, run_id), log=take, stop=stop, grace=STOP_SECONDS
        )
        if code != 0:
            raise DoctuneError(
                errors[-1]
                if errors
                else f"the pipeline in {clone.root} ended with exit code {code}; its lines are in this run's log"
            )
        return read_json(summary)


def _environment(project: Path, clone: Clone, run_id: str) -> dict[str, str]:
    """The clone's code first, the project's MLflow, and none of what Prefect told this process about its own run."""
    from doctune.scoring.comet import PLACE

    environ = {key: value for key, value in child_environment(run_id).items() if not key.startswith("PREFECT__")}
    environ["PYTHONPATH"] = os.pathsep.join([str(clone.root), *filter(None, [os.environ.get("PYTHONPATH")])])
    comet = (project / PLACE).parent.resolve()  # git has none of it, so the clone has not
    environ["PATH"] = os.pathsep.join([*filter(None, [environ.get("PATH")]), str(comet)])
    environ["MLFLOW_TRACKING_URI"] = tracking_uri(project)  # absolute: the child works in another folder
    environ["PREFECT_LOGGING_COLORS"] = "false"
    if "PREFECT_API_URL" not in environ:
        from prefect.settings import get_current_settings

        environ["PREFECT_API_URL"] = str(get_current_settings().api.url or "")
    return environ


def _message(clone: Clone, run_id: str) -> str:
    from doctune.section import PARAMS_FILE, load_section, read_yaml
    from doctune.sources.params import CrawlParams

    lock = clone.root / LOCK_OF_SOURCES
    entry = {}
    if lock.exists():
        entry = (read_yaml(lock) or {}).get(load_section(CrawlParams, "crawl", clone.root / PARAMS_FILE).name, {})
    revision = str(entry.get("commit") or entry.get("revision") or entry.get("tree") or "unknown")
    facts = f"Flow run: {run_id}\nSource revision: {revision}\nProject commit: {clone.project_commit}\n"
    return f"Scheduled run at source revision {revision[:12]}\n\n{facts}"
