"""The fresh process in which a shipped model is opened as its users open it: MLflow, the package, the package's own code.

    python -P doctune/registry/worker.py asked.json answered.json

    asked.json      {"model": folder of the package, "config": {}, "parts": {"test": ["Pods are running.", ...], ...}}
    answered.json   {"test": ["Pod 正在运行。", ...], ...}

It imports nothing of this checkout, so that what runs is the copy of doctune in the package.
"""

import ctypes
import json
import signal
import sys
from pathlib import Path


def main(asked: Path, answered: Path) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: a killed promotion leaves nothing running
    question = json.loads(asked.read_text(encoding="utf-8"))
    import mlflow.pyfunc

    model = mlflow.pyfunc.load_model(question["model"], model_config=question["config"])
    answers = {name: model.predict(texts) if texts else [] for name, texts in question["parts"].items()}
    answered.write_text(json.dumps({name: list(texts) for name, texts in answers.items()}), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
