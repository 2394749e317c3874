"""What the Prefect front end costs when there is nothing to do: a no-op flow run beside a no-op `dvc repro`, interleaved.

    python bench/flow_overhead.py            # in an up-to-date project; ends with one JSON line

Peer: DVC's own `dvc repro`, of the environment's version. A Prefect server runs meanwhile, as it does under a schedule.
"""

import importlib.metadata
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from flows.server import running_server

ROUNDS = 5


def seconds(*words: str) -> float:
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True, env=os.environ)
    if done.returncode:
        sys.exit(f"{' '.join(words)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    if "Completed " in done.stdout or "Running stage" in done.stdout:
        sys.exit("there was something to do: run `doctune run` first")
    return time.perf_counter() - began


def main() -> None:
    with running_server(Path.cwd()):
        seconds("doctune.cli", "run"), seconds("dvc", "repro")  # warm file caches
        rounds = [(seconds("doctune.cli", "run"), seconds("dvc", "repro")) for _ in range(ROUNDS)]
    flow, repro = (statistics.median(column) for column in zip(*rounds, strict=True))
    versions = {name: importlib.metadata.version(name) for name in ("dvc", "prefect")}
    print(
        json.dumps(
            {
                "flow_s": round(flow, 2),
                "repro_s": round(repro, 2),
                "ratio": round(flow / repro, 2),
                "versions": versions,
            }
        )
    )


if __name__ == "__main__":
    main()
