"""Does MLflow still have what the pipeline's files stand for? A cache hit skips side effects, so they are looked up.

    reconcile(store, params, files)      # [] or ["training run replayed from its curves", "version 4 registered", ...]

All questions are answered from small reports (hashes in register.json and export.json); models are read only to repair.
"""

import time
from pathlib import Path
from typing import Any

from doctune.errors import DoctuneError
from doctune.files import hash_path, read_json
from doctune.registry.lineage import Files, RegisterParams, lineage, numbers, train_params
from doctune.registry.runs import find_run, replay_run
from doctune.registry.store import Store, told
from doctune.registry.versions import MODEL_HASH, Version, ensure_shipped, ensure_version, is_loadable, list_versions

EVALUATION = "doctune.evaluation"


def reconcile(store: Store, params: RegisterParams, files: Files, split_report: Path | None = None) -> list[str]:
    """Repair run, evaluation, version, aliases and shipped model; returns what was repaired, in words.

    Parts whose report does not exist yet (register_report, export_report) are left alone. Call it when the stages that
    wrote the files are up to date.
    """
    repaired = []
    run_id, replayed = ensure_run(store, files)
    if replayed:
        repaired.append("training run replayed from its curves")
    if files.metrics.exists() and log_evaluation(store, run_id, files):
        repaired.append("scores and reports logged to the run")
    if files.register_report is None or not files.register_report.exists():
        return repaired
    digest = _hash(files.register_report, "model_hash")
    before = {version.number: version for version in list_versions(store, params.name)}
    whole = {
        uri: is_loadable(store, uri)
        for version in before.values()
        if version.tags.get(MODEL_HASH) == digest
        for uri in (version.source, version.shipped)
        if uri
    }
    version = ensure_version(store, params, files, digest, split_report)
    if files.onnx is not None and files.export_report is not None and files.export_report.exists():
        onnx_digest = read_json(files.export_report).get("onnx_hash") or hash_path(files.onnx)
        version = ensure_shipped(store, params, files, onnx_digest, digest)
    return repaired + _differences(before.get(version.number), version, whole)


def _differences(old: Version | None, new: Version, whole: dict[str, bool]) -> list[str]:
    """What it took to get from `old` to `new`; `whole` says of each URI whether its files were there before."""
    found = [] if old else [f"version {new.number} of {new.name} registered"]
    found += [
        f"alias {alias} set to version {new.number}" for alias in new.aliases if old is None or alias not in old.aliases
    ]
    if whole.get(new.source) is False:
        found.append(f"files of version {new.number} restored")
    if new.shipped is not None and (old is None or old.shipped != new.shipped):
        found.append(f"shipped model of version {new.number} logged")
    elif new.shipped is not None and whole.get(new.shipped) is False:
        found.append(f"files of what version {new.number} ships restored")
    return found


def ensure_run(store: Store, files: Files) -> tuple[str, bool]:
    """The id of the finished run that trained the model, and whether it had to be replayed from the curves."""
    report = read_json(files.train_report)
    key = report.get("train_key") if isinstance(report, dict) else None
    if not isinstance(key, str) or not key.isalnum():
        raise DoctuneError(f"wanted a train_key in {files.train_report}, got {key!r}; run the train stage again")
    if (run := find_run(store, key)) is not None:
        return run.info.run_id, False
    with store.locked():
        if (run := find_run(store, key)) is not None:
            return run.info.run_id, False
        return replay_run(store, key, train_params(files), files.curves, lineage(files, store.root)), True


@told
def log_evaluation(store: Store, run_id: str, files: Files) -> bool:
    """Log scores as metrics, tables and pictures as artifacts, lineage as tags; False when the run has just these."""
    from mlflow.entities import Metric, RunTag

    client = store.client
    run = client.get_run(run_id)
    parts = (files.metrics, files.changes, files.plots, files.train_report, files.page)
    digest = hash_path(*(path for path in parts if path is not None and path.exists()))
    if run.data.tags.get(EVALUATION) == digest:
        return False
    wanted = lineage(files, store.root)
    metrics: dict[str, Any] = read_json(files.metrics)
    now = int(time.time() * 1000)  # of two values of one step MLflow shows the later, and of one moment the larger
    trained = {key: value for key, value in read_json(files.train_report).items() if key != "params"}
    facts = {**metrics, "train": trained}
    points = [Metric(key, value, now, 0) for key, value in numbers(facts)]
    for index in range(0, len(points), 1000):
        client.log_batch(run_id, metrics=points[index : index + 1000])
    client.log_artifact(run_id, str(files.metrics), "evaluation")
    if files.changes.exists():
        client.log_artifact(run_id, str(files.changes), "evaluation")
    if files.page is not None and files.page.exists():
        client.log_artifact(run_id, str(files.page), "evaluation")
    for picture in sorted(files.plots.glob("*.png")):
        client.log_artifact(run_id, str(picture), "evaluation/plots")
    for name, text in metrics.get("signature", {}).items():
        wanted[f"signature.{name}"] = str(text)
    wanted[EVALUATION] = digest  # last: it says that all of the above is there
    client.log_batch(run_id, tags=[RunTag(key, value) for key, value in wanted.items()])
    return True


def _hash(report: Any, key: str) -> str:
    value = read_json(report).get(key)
    if not isinstance(value, str):
        raise DoctuneError(f"wanted {key} in {report}, got {value!r}; run its stage again")
    return value
