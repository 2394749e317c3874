"""A pyfunc model with everything it needs inside: weights, a copy of doctune, signature, example, exact requirements.

    uri = ensure_package(store, "model", {"model_hash": digest}, {"model": Path("models/tuned")}, TORCH, run_id)
    # "models:/m-3f5f9f904ea748dda8f459be59332925"

Logged models are found by a tag with the hash of their content; one that MLflow half received is completed. What a
server has is downloaded once, into .doctune/models/m-3f5f9f904ea748dda8f459be59332925.
"""

import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from doctune.files import whole_dir
from doctune.locks import hold
from doctune.prompts import TRANSLATE
from doctune.pyfunc import MODEL_CONFIG
from doctune.registry.store import LOCK_SECONDS, Store, told

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel

EXAMPLE = ["Pods are the smallest unit that you can deploy.", "Run `kubectl get pods` to list them."]
WEIGHTS = "weights"
PREFIX = "models:/"
DOWNLOADED = Path(".doctune") / "models"
KEPT = 3  # a promotion reads candidate, champion and PyTorch's
IN_USE_SECONDS = 24 * 3600  # a promotion reads on in what it asked for, and may translate for hours between
COMMON = (
    "mlflow",
    "numpy",
    "orjson",
    "pydantic",
    "ruamel.yaml",
    "sacremoses",
    "safetensors",
    "sentencepiece",
    "transformers",
)
TORCH = (*COMMON, "torch")
ADAPTER = (*TORCH, "peft")
ONNX = (*COMMON, "onnxruntime", "optimum", "optimum-onnx", "torch")


def ensure_package(
    store: Store,
    name: str,
    tags: Mapping[str, str],
    weights: Mapping[str, Path],
    requirements: tuple[str, ...],
    run_id: str | None,
) -> str:
    """The URI of the logged model `name` with these tags, which is logged unless it is there whole.

    `weights`: folders by their name inside. Call it under the store's lock.
    """
    found = find_packages(store, name, tags)
    model = next((model for model in found if is_whole(store, model)), None)
    if model is None:
        model = found[0] if found else _create(store, name, tags, run_id)
        _fill(store, model, weights, requirements)
    return f"{PREFIX}{model.model_id}"


def find_packages(store: Store, name: str, tags: Mapping[str, str]) -> list["LoggedModel"]:
    """Logged models with this name and all tags, oldest first."""
    wanted = " AND ".join([f"name = '{name}'", *(f"tags.`{key}` = '{value}'" for key, value in tags.items())])
    return list(
        store.client.search_logged_models(
            [store.experiment_id], wanted, order_by=[{"field_name": "creation_timestamp", "ascending": True}]
        )
    )


def get_package(store: Store, uri: str) -> "LoggedModel | None":
    """The logged model of a models:/m-... URI, None when it was deleted."""
    from mlflow.exceptions import MlflowException

    try:
        return store.client.get_logged_model(uri.removeprefix(PREFIX))
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"):
            return None
        raise


def is_whole(store: Store, model: "LoggedModel") -> bool:
    """Whether MLflow has received all of the model and its files are still there."""
    if str(model.status) != "READY":
        return False
    if (local := local_folder(model)) is not None:
        return (local / "MLmodel").is_file() and weights_in(local).is_dir()
    return any(entry.path == "MLmodel" for entry in store.client.list_logged_model_artifacts(model.model_id))


def download(store: Store, model: "LoggedModel") -> Path:
    """A local folder with the model; where it is already on this disk, that folder itself: do not write into it."""
    if (local := local_folder(model)) is not None:
        return local
    uri, models = f"{PREFIX}{model.model_id}", store.root / DOWNLOADED
    folder = models / model.model_id
    with hold(models / "lock", f"to fetch {uri}", wait=LOCK_SECONDS):
        if not folder.is_dir():
            with whole_dir(folder) as tmp:
                _receive(store, uri, tmp)
        os.utime(folder)
        _tidy(models)
    return folder


def weights_in(folder: Path) -> Path:
    """Where the weights lie in the folder of a logged model, as `doctune.pyfunc.load_engine` wants them."""
    return folder / "data" / WEIGHTS


def local_folder(model: "LoggedModel") -> Path | None:
    """Where the model lies, if that is on this disk."""
    location = model.artifact_location
    if location.startswith("file:///"):
        return Path(unquote(urlsplit(location).path))
    return Path(location) if location.startswith("/") else None


@told
def _receive(store: Store, uri: str, folder: Path) -> None:
    import mlflow.artifacts

    with store.as_default():
        mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(folder))


def _tidy(models: Path) -> None:
    """Remove all but the models asked for last and those asked for lately, and what killed downloads left."""
    folders = [path for path in models.iterdir() if path.is_dir()]
    asked = {path: path.stat().st_mtime for path in folders if not path.name.startswith(".")}
    last = sorted(asked, key=asked.__getitem__, reverse=True)
    old = [path for path in last[KEPT:] if time.time() - asked[path] > IN_USE_SECONDS]
    for path in [*old, *(path for path in folders if path not in asked)]:
        shutil.rmtree(path, ignore_errors=True)


def _create(store: Store, name: str, tags: Mapping[str, str], run_id: str | None) -> "LoggedModel":
    from mlflow.entities import LoggedModelOutput

    model = store.client.create_logged_model(store.experiment_id, name, run_id, dict(tags), model_type="translation")
    if run_id is not None:
        store.client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    return model


def _fill(store: Store, model: "LoggedModel", weights: Mapping[str, Path], requirements: tuple[str, ...]) -> None:
    """Build the MLflow folder from `weights` (its folders by their name inside) and upload it."""
    import mlflow.pyfunc
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

    import doctune

    staging = store.root / ".doctune" / "package"  # one at a time: the caller holds the lock
    shutil.rmtree(staging, ignore_errors=True)
    try:
        (staging / WEIGHTS).mkdir(parents=True)
        for inside, folder in weights.items():
            (staging / WEIGHTS / inside).symlink_to(
                folder.resolve(), target_is_directory=True
            )  # MLflow copies what it points at
        mlflow.pyfunc.save_model(
            staging / "model",
            loader_module="doctune.pyfunc",
            data_path=str(staging / WEIGHTS),
            code_paths=[str(Path(str(doctune.__file__)).parent)],
            mlflow_model=Model(
                artifact_path=model.artifact_location,
                model_uuid=model.model_id,
                model_id=model.model_id,
                run_id=model.source_run_id,
            ),
            # a column without a name takes lists, Series, dicts and DataFrames; with a name only the last two
            signature=ModelSignature(
                inputs=Schema([ColSpec("string")]),
                outputs=Schema([ColSpec("string")]),
                params=ParamSchema([ParamSpec("task", "string", TRANSLATE)]),
            ),
            input_example=EXAMPLE,
            model_config=MODEL_CONFIG,
            pip_requirements=pinned(requirements),
        )
        if str(model.status) == "READY":  # its files were lost: until all are back it must not look whole
            store.client.finalize_logged_model(model.model_id, "FAILED")
        store.client.log_model_artifacts(model.model_id, str(staging / "model"))
        store.client.finalize_logged_model(model.model_id, "READY")
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def pinned(names: tuple[str, ...]) -> list[str]:
    """name==version as installed here, without a local tag such as +cpu, which no index has."""
    from importlib.metadata import version

    return [f"{name}=={version(name).partition('+')[0]}" for name in names]
