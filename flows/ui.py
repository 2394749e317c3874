"""The two UIs on loopback: MLflow for experiments and models, Prefect for runs.

serve(mlflow_port=5000, prefect_port=4200)      # what `doctune ui` does; ends with Ctrl-C
"""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from doctune.registry.store import connect, shown
from flows.child import end, start
from flows.server import free_port, running_server, wait_until_healthy

STARTUP_SECONDS = 90.0


def serve(mlflow_port: int, prefect_port: int) -> None:
    """Start what does not run yet, print both addresses, and stay until interrupted."""
    root = Path.cwd()
    with mlflow_server(root, mlflow_port) as mlflow, running_server(root, prefect_port or None) as prefect:
        print(f"MLflow   {shown(mlflow)}\nPrefect  {prefect.removesuffix('/api')}\nCtrl-C ends both.", flush=True)
        while True:
            time.sleep(3600)


@contextmanager
def mlflow_server(root: Path, port: int) -> Iterator[str]:
    """Yield the address of MLflow's UI: the server that MLFLOW_TRACKING_URI names, or one of our own on the project's database."""
    store = connect(root)
    if store.uri.startswith("http"):
        yield store.uri
        return
    port = port if port and _free(port) else free_port()
    log = root / ".doctune" / "mlflow-server.log"
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store.uri]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    # MLflow would start a dozen processes for jobs (evaluations of language models) that nobody asks for here.
    environ = {**os.environ, "MLFLOW_TRACKING_URI": store.uri, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    log.parent.mkdir(exist_ok=True)
    with log.open("wb") as out:
        process = start(command, cwd=root, env=environ, out=out, grace=10)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until_healthy("MLflow", process, url, log, STARTUP_SECONDS, says=b"OK")
        yield url
    finally:
        end(process)


def _free(port: int) -> bool:
    return free_port(port) == port
