"""What a version was made of, as it stood when it was registered: kept with the model, to tell two versions apart.

    snapshot(files)       # {"stages": {"train": {"cmd": "...", "deps": {...}, "params": {...}, "outs": {...}}, ...},
                          #  "pages": {"docs/concepts/pods.md": "9f2c..."}, "pairs": {"train": 1212, "test": 130}}
    keep_snapshot(store, version, files)
    snapshot_of(store, version)                    # None where it was not kept

It is an artifact of the logged model, lineage/NUMBER.json: a run may be deleted, and belongs to several versions. A page
stands for its pairs in the splits: what changed on it that no pair holds has changed nothing for the model.
"""

import json
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from doctune.errors import DoctuneError
from doctune.files import hash_text, iterate_jsonl, read_json, write_json
from doctune.registry.changes import REGISTERED_BY
from doctune.registry.lineage import Files
from doctune.registry.packages import get_package, local_folder
from doctune.registry.store import Store, told
from doctune.registry.tags import lock_stages

if TYPE_CHECKING:
    from doctune.registry.versions import Version

SNAPSHOT = "doctune.lineage"  # tag of a version: the artifact's path
FOLDER = "lineage"
SPLITS = ("train", "valid", "test")


def snapshot(files: Files) -> dict[str, Any]:
    """dvc.lock's hashes and params of the stages before registration, a hash for each page, rows of each split."""
    # those that register are in dvc.lock only once they have ended: what is there is of the version before
    stages = {name: _stage(stage) for name, stage in lock_stages(files.dvc_lock).items() if name not in REGISTERED_BY}
    pages: dict[str, list[str]] = defaultdict(list)
    pairs = {}
    for split in SPLITS:
        path = files.splits / f"{split}.jsonl"
        if not path.is_file():
            continue
        pairs[split] = 0
        for row in iterate_jsonl(path):
            pairs[split] += 1
            if page := row.get("page"):
                pages[str(page)] += [str(row.get("en")), str(row.get("zh"))]
    return {
        "stages": stages,
        "pages": {page: hash_text(*texts)[:16] for page, texts in sorted(pages.items())},
        "pairs": pairs,
    }


@told
def keep_snapshot(store: Store, version: "Version", files: Files) -> None:
    """Keep what a version is made of, unless that is there: it is what was true when the version was made."""
    if SNAPSHOT in version.tags and snapshot_of(store, version) is not None:
        return
    model_id = version.source.rpartition("/")[2]
    with tempfile.TemporaryDirectory(prefix="doctune-") as folder:
        file = Path(folder) / f"{version.number}.json"
        write_json(file, snapshot(files))
        store.client.log_model_artifact(model_id, str(file), FOLDER)
    store.client.set_model_version_tag(version.name, version.number, SNAPSHOT, f"{FOLDER}/{file.name}")


@told
def snapshot_of(store: Store, version: "Version") -> dict[str, Any] | None:
    import mlflow.artifacts
    from mlflow.exceptions import MlflowException

    inside = version.tags.get(SNAPSHOT)
    model = get_package(store, version.source)
    if inside is None or model is None:
        return None
    try:
        if (local := local_folder(model)) is not None:
            found = read_json(local / inside)
        else:
            with store.as_default():
                found = json.loads(mlflow.artifacts.load_text(f"{model.artifact_location}/{inside}"))
    except (DoctuneError, MlflowException, ValueError):
        return None  # its files are gone or damaged: whoever shows it says that there is none
    return found if isinstance(found, dict) else None


def _stage(stage: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "cmd": str(stage.get("cmd", "")),
        "deps": _hashes(stage.get("deps", ())),
        "params": {key: value for group in stage.get("params", {}).values() for key, value in _flat(group)},
        "outs": _hashes(stage.get("outs", ())),
    }


def _hashes(entries: Any) -> dict[str, str]:
    return {str(entry.get("path")): str(entry.get("md5")) for entry in entries}


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """[("train.lora.r", 16), ...]"""
    found: list[tuple[str, Any]] = []
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            found += _flat(value, f"{prefix}{key}.")
        else:
            found.append((f"{prefix}{key}", value))
    return found
