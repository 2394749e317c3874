"""Where a model came from: the files it is made of, and the tags that answer the question in MLflow.

    files = Files(base=Path("models/base"), model=Path("models/tuned"), ...)
    lineage(files, root)     # {"data_revision": "5c31237a...", "git_commit": "...", "dvc_model": "...", ...}

DVC's hashes are read from dvc.lock, which has them by the time a later stage runs; what cannot be known is "unknown".
"""

import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from doctune.errors import DoctuneError
from doctune.files import hash_path
from doctune.section import Section, read_yaml

UNKNOWN = "unknown"
NAME = r"[\w.-]+"  # of a registered model: fits into a models:/ URI and a file's name as it is
LOCK_OF_SOURCES = "source.lock.yaml"
DVC_LOCK = Path("dvc.lock")


class RegisterParams(Section):
    """The `register` section of params.yaml."""

    name: str = Field(min_length=1, max_length=200, pattern=f"^{NAME}$")
    description: str


@dataclass(frozen=True)
class Files:
    """What one state of the pipeline consists of, for MLflow. `onnx` and `export_report` are None before export."""

    base: Path
    model: Path
    splits: Path
    metrics: Path
    changes: Path  # the table for reading, changes.md
    plots: Path
    curves: Path
    train_report: Path
    dvc_lock: Path
    register_report: Path | None = None
    onnx: Path | None = None
    export_report: Path | None = None
    page: Path | None = None  # the report as one HTML page, where the caller has one

    @property
    def is_adapter(self) -> bool:
        from doctune.models import is_adapter

        return is_adapter(self.model)


def model_hash(files: Files) -> str:
    """SHA-256 of the tuned model's folder; with the base's, where the model is an adapter on it."""
    return hash_path(files.model, files.base) if files.is_adapter else hash_path(files.model)


def lineage(files: Files, root: Path) -> dict[str, str]:
    """The tags of a run and of a version: source revision, DVC's hashes, commit of the code, what the flow says.

    `dvc_base` is the content that the model was made from, be it fetched or adapted; `adapt_epochs` says the latter.
    """
    lock = _stages(files.dvc_lock)
    return {
        "data_revision": _data_revision(lock),
        "dvc_base": _dvc_hash(lock, files.base),
        "dvc_model": _dvc_hash(lock, files.model),
        "dvc_data": _dvc_hash(lock, files.splits),
        **_adaptation(lock),
        **environment(root),
    }


def train_params(files: Files) -> dict[str, Any]:
    """The train section that dvc.lock says the model was made with; empty where DVC did not run the stage."""
    return _params(_stages(files.dvc_lock), "train")


def environment(root: Path) -> dict[str, str]:
    """The commit of the code, and what the flow says through variables: DOCTUNE_PRESET, DOCTUNE_FLOW_RUN_ID."""
    tags = {"git_commit": git_commit(root)}
    for tag, variable in (("preset", "DOCTUNE_PRESET"), ("doctune.flow_run_id", "DOCTUNE_FLOW_RUN_ID")):
        if value := os.environ.get(variable, "").strip():
            tags[tag] = value
    return tags


def git_commit(root: Path) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "--verify", "HEAD"],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return UNKNOWN
    return done.stdout.strip() if done.returncode == 0 else UNKNOWN


def numbers(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Numeric leaves of nested plain data, named with slashes: tuned/bleu. MLflow's UI groups charts by them."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from numbers(value, f"{prefix}{key}/")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{prefix}{key}", float(value)


def score_tags(metrics: Mapping[str, Any]) -> dict[str, str]:
    """tuned_bleu, tuned_chrf, base_bleu, base_chrf out of metrics.json, as far as it has them."""
    tags = {}
    for system in ("tuned", "base"):
        for metric in ("bleu", "chrf"):
            group = metrics.get(system)
            if isinstance(group, Mapping) and isinstance(group.get(metric), int | float):
                tags[f"{system}_{metric}"] = f"{group[metric]:.2f}"
    return tags


def _stages(dvc_lock: Path) -> dict[str, Any]:
    if not dvc_lock.exists():
        return {}
    lock = read_yaml(dvc_lock)
    if not isinstance(lock, dict) or not isinstance(lock.get("stages", {}), dict):
        raise DoctuneError(
            f"wanted DVC's stages in {dvc_lock}, got {type(lock).__name__}; restore it with git checkout"
        )
    return {name: stage for name, stage in lock.get("stages", {}).items() if isinstance(stage, dict)}


def _params(stages: Mapping[str, Any], section: str) -> dict[str, Any]:
    """The section that a stage of the same name was run with."""
    return dict(stages.get(section, {}).get("params", {}).get("params.yaml", {}).get(section, {}))


def _adaptation(stages: Mapping[str, Any]) -> dict[str, str]:
    epochs = _params(stages, "adapt").get("epochs", 0)
    return {"adapt_epochs": str(epochs)} if epochs else {}


def _dvc_hash(stages: Mapping[str, Any], out: Path) -> str:
    for stage in stages.values():
        for entry in stage.get("outs", []):
            if Path(entry.get("path", "")) == out:
                return str(entry.get("md5", UNKNOWN))
    return UNKNOWN


def _data_revision(stages: Mapping[str, Any]) -> str:
    """The locked commit or web revision that the crawl read; of a local folder, DVC's hash of it."""
    crawl = stages.get("crawl", {})
    for entry in crawl.get("params", {}).get(LOCK_OF_SOURCES, {}).values():
        if isinstance(entry, dict) and "commit" in entry:
            return str(entry["commit"])
        if isinstance(entry, dict) and "revision" in entry:
            return str(entry["revision"])
        if isinstance(entry, dict) and "tree" in entry:
            for dependency in crawl.get("deps", []):
                if Path(dependency.get("path", "")) == Path(str(entry["tree"])):
                    return f"{entry['tree']}@{dependency.get('md5', UNKNOWN)}"
    return UNKNOWN
