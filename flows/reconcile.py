"""After register or export, run or not: does MLflow have what the files stand for?

    reconcile_mlflow(Path.cwd(), register.cmd, export.cmd, exported=True)    # Settled(("version 4 registered",), "4 (challenger)")

Importing MLflow takes longer than a whole run in which nothing is to be done. So once everything was found in order,
the state of a local store (its database and artifacts, by size and time) is noted in `.doctune/mlflow-settled.json`;
while that and the reports stand as they were, nothing can have been lost and nothing is asked. A store elsewhere is
asked every time.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from doctune.errors import DoctuneError
from doctune.files import hash_path, hash_text, read_json, write_json
from doctune.registry.database import database_file
from doctune.registry.lineage import DVC_LOCK
from doctune.registry.store import tracking_uri
from doctune.section import PARAMS_FILE
from flows.graph import options_of

SETTLED = Path(".doctune") / "mlflow-settled.json"


@dataclass(frozen=True)
class Settled:
    """MLflow has it all: what had to be repaired for that, in words, and the version with its aliases."""

    repaired: tuple[str, ...]
    version: str


def reconcile_mlflow(root: Path, register: str, export: str, exported: bool) -> Settled:
    """Repair what MLflow lacks of the registered and exported model: a cache hit skips what a stage does beside its outputs.

    `register` and `export` are the stages' commands in dvc.yaml, which name all files; `exported` says that the second
    is up to date too. Raises DoctuneError when MLflow does not answer.
    """
    options = options_of(register)
    shipped = options_of(export)
    reports = _reports(root, register, export)
    before, noted = _state(root, reports), _noted(root)
    if before is not None and before == noted.get("state"):
        return Settled((), str(noted.get("version")))
    from doctune.registry import api as registry
    from doctune.section import load_section

    files = registry.Files(
        base=Path(options["base"]),
        model=Path(options["model"]),
        splits=Path(options["splits"]),
        metrics=Path(options["metrics"]),
        changes=Path(options["changes"]),
        plots=Path(options["plots"]),
        curves=Path(options["curves"]),
        train_report=Path(options["train-report"]),
        dvc_lock=DVC_LOCK,
        register_report=Path(options["out"]),
        onnx=Path(shipped["onnx"]) if exported else None,
        export_report=Path(shipped["report"]) if exported else None,
        page=Path(options["page"]),
    )
    store, params = registry.connect(root), load_section(registry.RegisterParams, "register")
    repaired = registry.reconcile(store, params, files, Path(options["split-report"]))
    version = _version(registry.list_versions(store, params.name), read_json(root / options["out"])["model_hash"])
    if exported and (after := _state(root, reports)) is not None:
        write_json(root / SETTLED, {"state": after, "version": version})  # what a promotion said is asked again
    return Settled(tuple(repaired), version)


def settled_promotion(root: Path, register: str, export: str) -> str | None:
    """What the last promotion said, as Markdown, while nothing that decided it has changed; else None."""
    noted = _noted(root)
    promotion = noted.get("promotion")
    if not isinstance(promotion, dict) or promotion.get("knobs") != _knobs(root):
        return None
    state = _state(root, _reports(root, register, export))
    return str(promotion.get("markdown")) if state is not None and state == noted.get("state") else None


def note_promotion(root: Path, register: str, export: str, markdown: str | None) -> str:
    """Note what a promotion said beside the store's state after it; returns the version with the aliases it has now.

    None: it is to be asked again the next time.
    """
    from doctune.registry import api as registry
    from doctune.section import load_section

    name = load_section(registry.RegisterParams, "register").name
    digest = read_json(root / options_of(register)["out"])["model_hash"]
    version = _version(registry.list_versions(registry.connect(root), name), digest)
    if markdown is not None and (state := _state(root, _reports(root, register, export))) is not None:
        promotion = {"knobs": _knobs(root), "markdown": markdown}
        write_json(root / SETTLED, {"state": state, "version": version, "promotion": promotion})
    return version


def _reports(root: Path, register: str, export: str) -> list[Path]:
    options = options_of(register)
    return [root / name for name in (options["metrics"], options["out"], options_of(export)["report"])]


def _knobs(root: Path) -> str:
    """Of what decides a promotion besides store and reports: limits and code."""
    import doctune

    return hash_path(root / PARAMS_FILE, Path(str(doctune.__file__)).parent)


def _version(versions: Sequence[Any], model_hash: str) -> str:
    """Number and aliases of the version that holds the model: of several the challenger, else the newest."""
    holders = [version for version in versions if version.tags.get("model_hash") == model_hash]
    version = next((version for version in holders if "challenger" in version.aliases), holders[0])
    return f"{version.number} ({', '.join(sorted(version.aliases)) or 'no alias'})"


def _noted(root: Path) -> dict[str, Any]:
    try:
        noted = read_json(root / SETTLED)
    except DoctuneError:
        return {}
    return noted if isinstance(noted, dict) else {}


def _state(root: Path, reports: list[Path]) -> str | None:
    """A hash over a local store and the reports as they stand; None when there is no local database."""
    uri = tracking_uri(root)
    database = database_file(uri)
    if database is None or not database.is_file():
        return None
    parts = [uri, *_stats([database, database.with_name(f"{database.name}-wal"), *sorted(reports)])]
    for folder, folders, names in os.walk(database.parent / "artifacts"):
        folders.sort()
        parts += _stats(Path(folder, name) for name in sorted(names))
    return hash_text(*parts)


def _stats(paths: Any) -> Iterator[str]:
    for path in paths:
        try:
            found = path.stat()
            yield f"{path} {found.st_size} {found.st_mtime_ns}"
        except OSError:
            yield f"{path} missing"
