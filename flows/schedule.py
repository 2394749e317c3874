"""`doctune schedule`: a Prefect server, the work pool, the deployments of prefect.yaml, and a worker, until Ctrl-C.

schedule()                                       # as prefect.yaml says
schedule(cron="* * * * *", overrides=["crawl.ref=v1.34"])    # to see it fire
"""

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from doctune.errors import DoctuneError
from doctune.files import whole_file
from flows.child import Stop, run_child
from flows.server import running_server

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

    cron: replaces every deployment's schedules. preset, overrides: parameters of the scheduled runs.
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
        _forget_old_plans(url)
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
    for deployment in declared["deployments"]:
        if cron is not None:
            deployment["schedules"] = [{**schedule, "cron": cron} for schedule in deployment["schedules"]]
        deployment["parameters"] = {"preset": preset, "overrides": overrides}
    file = root / ".doctune" / "prefect.yaml"
    with whole_file(file) as tmp, tmp.open("w", encoding="utf-8") as out:
        yaml.dump(declared, out)
    return file


def _forget_old_plans(url: str) -> None:
    """Drop runs that were planned earlier and not started: nights missed while no worker ran, and doubles.

    Prefect plans the coming ones anew within a minute. Runs that a person asked for stay.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, WorkPoolFilter
    from prefect.client.schemas.sorting import FlowRunSort
    from prefect.settings import PREFECT_API_URL, temporary_settings

    waiting = FlowRunFilter.model_validate({"state": {"type": {"any_": ["SCHEDULED"]}}})
    pool = WorkPoolFilter.model_validate({"name": {"any_": [POOL]}})
    with temporary_settings(updates={PREFECT_API_URL: url}), get_client(sync_client=True) as client:
        for _ in range(10):
            runs = client.read_flow_runs(
                flow_run_filter=waiting,
                work_pool_filter=pool,
                sort=FlowRunSort.EXPECTED_START_TIME_ASC,
                limit=200,
            )
            planned = [run for run in runs if run.auto_scheduled]
            if not planned:
                return
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
