"""`doctune schedule`: a Prefect server, the work pool, the deployments of prefect.yaml, and a worker, until Ctrl-C.

schedule()                                       # as prefect.yaml says
schedule(cron="* * * * *", overrides=["crawl.ref=v1.34"])    # to see it fire
"""

import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from doctune.errors import DoctuneError
from doctune.files import whole_file
from doctune.locks import hold
from flows.checkout import SCHEDULED_LOCK
from flows.child import Stop, run_child
from flows.server import running_server

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

POOL = "doctune"
PREFECT_FILE = Path("prefect.yaml")


def schedule(
    cron: str | None = None,
    preset: str | None = None,
    overrides: list[str] | None = None,
    log: Callable[[str], None] = print,
    stop: Stop | None = None,
) -> None:
    """Deploy what prefect.yaml declares, then work in the foreground until `stop` is requested or Ctrl-C.

    cron: replaces every deployment's schedules. preset, overrides: each replaces that parameter of every deployment.
    """
    root, stop = Path.cwd(), stop or Stop()
    if not PREFECT_FILE.exists():
        raise DoctuneError(f"{PREFECT_FILE} does not exist; run from the project's root folder")
    with running_server(root) as url:
        log(f"Prefect at {url.removesuffix('/api')}")
        path = os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])])
        environ = {
            **os.environ,
            "PREFECT_API_URL": url,
            "DOCTUNE_ROOT": str(root),
            "PYTHONPATH": path,
            "PYTHONUNBUFFERED": "1",
        }
        _prefect(["work-pool", "create", POOL, "--type", "process", "--overwrite"], root, environ, log, stop)
        file = _effective(root, cron, preset, overrides or [])
        _prefect(["--no-prompt", "deploy", "--all", "--prefect-file", str(file)], root, environ, log, stop)
        _tidy(root, url)
        try:
            _prefect(["worker", "start", "--pool", POOL, "--type", "process"], root, environ, log, stop)
        except KeyboardInterrupt:
            log("stopped; nothing is scheduled until the next `doctune schedule`")


def _effective(root: Path, cron: str | None, preset: str | None, overrides: list[str]) -> Path:
    """prefect.yaml itself, or a copy under .doctune with what was asked for laid over every deployment."""
    if cron is None and preset is None and not overrides:
        return PREFECT_FILE
    from ruamel.yaml import YAML

    yaml = YAML()
    declared: Any = yaml.load(PREFECT_FILE.read_text(encoding="utf-8"))
    asked = {key: value for key, value in {"preset": preset, "overrides": overrides}.items() if value}
    for deployment in declared["deployments"]:
        if cron is not None:
            deployment["schedules"] = [{**schedule, "cron": cron} for schedule in deployment["schedules"]]
        deployment["parameters"] = {**(deployment.get("parameters") or {}), **asked}
    file = root / ".doctune" / "prefect.yaml"
    with whole_file(file) as tmp, tmp.open("w", encoding="utf-8") as out:
        yaml.dump(declared, out)
    return file


def _tidy(root: Path, url: str) -> None:
    """Forget what an earlier worker left with Prefect: planned runs that it missed, and a run that died with it.

    Missed nights are not made up; Prefect plans the coming ones anew within a minute. A dead run would stay "Running" and
    keep the one place that `concurrency_limit` gives. Runs that a person asked for stay.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, WorkPoolFilter
    from prefect.client.schemas.sorting import FlowRunSort
    from prefect.settings import PREFECT_API_URL, temporary_settings
    from prefect.states import Crashed

    pool = WorkPoolFilter.model_validate({"name": {"any_": [POOL]}})
    order = FlowRunSort.EXPECTED_START_TIME_ASC

    def runs(*types: str) -> "list[FlowRun]":
        state = FlowRunFilter.model_validate({"state": {"type": {"any_": list(types)}}})
        return list(client.read_flow_runs(flow_run_filter=state, work_pool_filter=pool, sort=order, limit=200))

    with temporary_settings(updates={PREFECT_API_URL: url}), get_client(sync_client=True) as client:
        with suppress(DoctuneError), hold(root / SCHEDULED_LOCK, "to tidy up"):  # else a scheduled run is at work
            for run in runs("PENDING", "RUNNING", "CANCELLING"):
                client.set_flow_run_state(run.id, Crashed(message="its worker ended"), force=True)
        while planned := [run for run in runs("SCHEDULED") if run.auto_scheduled]:
            for run in planned:
                client.delete_flow_run(run.id)


def _prefect(words: list[str], root: Path, environ: Mapping[str, str], log: Callable[[str], None], stop: Stop) -> None:
    lines: list[str] = []

    def take(line: str) -> None:
        lines[:] = [*lines[-20:], line]
        log(line)

    code = run_child([sys.executable, "-m", "prefect", *words], cwd=root, env=environ, log=take, stop=stop, grace=40)
    if code != 0 and not stop.requested():
        raise DoctuneError(f"prefect {' '.join(words[:2])} failed: {' '.join(lines[-3:])}")
