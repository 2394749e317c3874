"""Registered versions: the tuned model under a number, what ships for it, and the aliases challenger and champion.

    version = ensure_version(store, params, files)     # Version(number="3", aliases=("challenger",), shipped=None, ...)
    version = ensure_shipped(store, params, files)     # shipped="models:/m-..." written once as the tag shipped_model
    resolve(store, "doctune", "champion")              # who that is, promotion alone decides (doctune.registry.champions)

A version is found by the hash of its model and, once it ships, of its ONNX files. The same model exported in another
way is a version of its own (of the same logged model): what an alias ships never changes under it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from doctune import pyfunc
from doctune.errors import DoctuneError
from doctune.files import hash_path, read_json
from doctune.registry import packages
from doctune.registry.descriptions import model_description, version_description
from doctune.registry.lineage import Files, RegisterParams, lineage, model_hash, score_tags
from doctune.registry.runs import find_run
from doctune.registry.snapshot import keep_snapshot
from doctune.registry.store import Store, told
from doctune.registry.tags import judged_tags, leakage_tags, parity_tags

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

CHALLENGER, CHAMPION = "challenger", "champion"
MODEL_HASH, ONNX_HASH, SHIPPED, REPLACED = "model_hash", "onnx_hash", "shipped_model", "doctune.replaced_by"
DATA_HASH = "data_hash"  # of the splits; like scores it may change for the same model, where only test rows did


@dataclass(frozen=True)
class Version:
    """A registered version as people see it; `created` in ms since 1970, `shipped` a models:/m-... URI."""

    name: str
    number: str
    aliases: tuple[str, ...]
    tags: dict[str, str]
    source: str  # models:/m-..., the PyTorch model
    run_id: str | None
    created: int

    @property
    def shipped(self) -> str | None:
        return self.tags.get(SHIPPED)


@told
def ensure_version(
    store: Store, params: RegisterParams, files: Files, digest: str | None = None, split_report: Path | None = None
) -> Version:
    """The version of the model in `files`, registered unless it is; challenger moves to it.

    `digest` is model_hash(files) where the caller knows it; `split_report` has the counts of leakage. The run of the training must exist (ensure_run).
    """
    digest = digest or model_hash(files)
    with store.locked(), store.as_default():
        found = _usable(store, params.name, digest)
        if any(not is_loadable(store, version.source) for version in found):
            _log_model(store, files, digest)  # MLflow knows the model, its files are gone
        if not found:
            found = [_register(store, params, files, digest)]
        # Of several versions, which ship the model differently, the one that the last export was: ensure_shipped knows better
        version = next((version for version in found if CHALLENGER in version.aliases), found[0])
        _tag(store, version, _measured(files) | leakage_tags(split_report))  # anew for the same model, it may be
        _describe(store, params, files, version.number)
        keep_snapshot(store, version, files)
        _point(store, params.name, version.number)
    return resolve(store, params.name, version.number)


@told
def ensure_shipped(
    store: Store, params: RegisterParams, files: Files, onnx_digest: str | None = None, digest: str | None = None
) -> Version:
    """Log files.onnx and write its URI, once, as the tag shipped_model of the model's version; returns that version.

    Where each version of this model ships other files, a new version of the same model is made.
    """
    if files.onnx is None:
        raise DoctuneError("wanted the folder of the exported model, got none; run the export stage")
    digest, onnx_digest = digest or model_hash(files), onnx_digest or hash_path(files.onnx)
    with store.locked(), store.as_default():
        of_model = _usable(store, params.name, digest)
        if not of_model:
            raise DoctuneError(
                f"MLflow has no version of {params.name} with this model; run the register stage (dvc repro register)"
            )
        version = next((version for version in of_model if version.tags.get(ONNX_HASH) == onnx_digest), None)
        version = version or next((version for version in of_model if version.shipped is None), None)
        version = version or _register(store, params, files, digest)
        if version.shipped is None or not is_loadable(store, version.shipped):
            uri = packages.ensure_package(
                store, "shipped", {ONNX_HASH: onnx_digest}, {pyfunc.ONNX: files.onnx}, packages.ONNX, version.run_id
            )
            store.client.set_model_version_tag(params.name, version.number, ONNX_HASH, onnx_digest)
            if uri != version.shipped:  # another one only where the logged model itself was deleted
                store.client.set_model_version_tag(params.name, version.number, SHIPPED, uri)
        _tag(store, version, _measured(files) | parity_tags(files.export_report))
        _describe(store, params, files, version.number)
        keep_snapshot(store, version, files)
        _point(store, params.name, version.number)
    return resolve(store, params.name, version.number)


@told
def list_versions(store: Store, name: str) -> list[Version]:
    """All versions, newest first; empty when nothing is registered under `name`."""
    model = registered(store, name)
    return _search(store, name, {}, _aliases(model)) if model else []


@told
def resolve(store: Store, name: str, wanted: str) -> Version:
    """The version with a number or an alias; raises DoctuneError naming what there is."""
    versions = list_versions(store, name)
    for version in versions:
        if wanted == version.number or wanted in version.aliases:
            return version
    there = (
        ", ".join(" ".join([version.number, *version.aliases]) for version in versions)
        or "nothing; run the pipeline first (doctune run)"
    )
    advice = ""
    if wanted == CHAMPION and versions:
        advice = "; no version was promoted yet: `doctune promote` judges the challenger, --model challenger uses it unjudged"
    raise DoctuneError(f"MLflow has no version {wanted!r} of {name}; it has {there}{advice}")


def shipped_uri(store: Store, name: str, wanted: str = CHAMPION) -> str:
    """The models:/m-... URI of what ships for an alias or version."""
    return shipped_of(resolve(store, name, wanted))


@told
def fetch(store: Store, uri: str) -> Path:
    """A local folder, not to be written to, with the logged model at `uri`, for mlflow.pyfunc.load_model."""
    model = packages.get_package(store, uri)
    if model is None or not packages.is_whole(store, model):
        raise DoctuneError(f"MLflow no longer has the model {uri}; run the pipeline again to repair it (doctune run)")
    return packages.download(store, model)


def shipped_of(version: Version) -> str:
    """The URI of what the version ships; raises DoctuneError where that was not exported."""
    if version.shipped is None:
        raise DoctuneError(
            f"version {version.number} of {version.name} has no exported model to ship; run the export stage"
        )
    return version.shipped


def _register(store: Store, params: RegisterParams, files: Files, digest: str) -> Version:
    """Log the model unless MLflow has it, and make a version of it that takes over the aliases of broken ones.

    But for champion: what ships of it may be whole still, and what the new version will ship was not judged.
    """
    client = store.client
    uri, run_id = _log_model(store, files, digest)
    model = registered(store, params.name)
    if model is None:
        client.create_registered_model(params.name, description=params.description)
    tags = {MODEL_HASH: digest, **lineage(files, store.root), **_measured(files)}
    made = client.create_model_version(params.name, uri, run_id, tags, model_id=uri.removeprefix(packages.PREFIX))
    aliases = _aliases(registered(store, params.name))
    for broken in _search(store, params.name, {MODEL_HASH: digest}, aliases):
        if broken.number != str(made.version) and not is_loadable(store, broken.source):
            for alias in set(broken.aliases) - {CHAMPION}:
                client.set_registered_model_alias(params.name, alias, str(made.version))
            client.set_model_version_tag(params.name, broken.number, REPLACED, str(made.version))
    return _version(made, {})


def _measured(files: Files) -> dict[str, str]:
    metrics = read_json(files.metrics)
    return {DATA_HASH: hash_path(files.splits), **score_tags(metrics), **judged_tags(metrics)}


def _tag(store: Store, version: Version, tags: dict[str, str]) -> None:
    for key, value in tags.items():
        if version.tags.get(key) != value:
            store.client.set_model_version_tag(version.name, version.number, key, value)


def _describe(store: Store, params: RegisterParams, files: Files, number: str) -> None:
    """Bring MLflow's descriptions of the model and of this version up to date."""
    client, model = store.client, registered(store, params.name)
    assert model is not None  # a version of it exists
    if model.description != (wanted := model_description(params, files)):
        client.update_registered_model(params.name, wanted)
    version = client.get_model_version(params.name, number)
    wanted = version_description(params.name, number, dict(version.tags), files, read_json(files.train_report))
    if version.description != wanted:
        client.update_model_version(params.name, number, wanted)


def _log_model(store: Store, files: Files, digest: str) -> tuple[str, str | None]:
    """The URI of the logged PyTorch model, which is made or completed unless it is whole, and the id of its run."""
    run = find_run(store, str(read_json(files.train_report)["train_key"]))
    run_id = run.info.run_id if run else None
    weights = {pyfunc.MODEL: files.model, **({pyfunc.BASE: files.base} if files.is_adapter else {})}
    needs = packages.ADAPTER if files.is_adapter else packages.TORCH
    return packages.ensure_package(store, "model", {MODEL_HASH: digest}, weights, needs, run_id), run_id


def _point(store: Store, name: str, number: str) -> None:
    aliases = registered(store, name).aliases  # type: ignore[union-attr]  # a version of it exists
    if str(aliases.get(CHALLENGER)) != number:
        store.client.set_registered_model_alias(name, CHALLENGER, number)


def _usable(store: Store, name: str, digest: str) -> list[Version]:
    """Versions of a model, newest first, but for those whose logged model was deleted from MLflow."""
    model = registered(store, name)
    found = _search(store, name, {MODEL_HASH: digest}, _aliases(model)) if model else []
    return [
        version for version in found if REPLACED not in version.tags and packages.get_package(store, version.source)
    ]


def is_loadable(store: Store, uri: str) -> bool:
    """Whether MLflow still has the model and all its files."""
    model = packages.get_package(store, uri)
    return model is not None and packages.is_whole(store, model)


def registered(store: Store, name: str) -> "RegisteredModel | None":
    """MLflow's own record under `name`, None where there is none."""
    from mlflow.exceptions import MlflowException

    try:
        return store.client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise


def _aliases(model: "RegisteredModel | None") -> dict[str, tuple[str, ...]]:
    """Aliases by version number."""
    by_number: dict[str, tuple[str, ...]] = {}
    for alias, number in sorted(model.aliases.items() if model else ()):
        by_number[str(number)] = (*by_number.get(str(number), ()), alias)
    return by_number


def _search(store: Store, name: str, tags: dict[str, str], aliases: dict[str, tuple[str, ...]]) -> list[Version]:
    wanted = " AND ".join([f"name = '{name}'", *(f"tags.`{key}` = '{value}'" for key, value in tags.items())])
    found: list[Version] = []
    token = None
    while True:
        page = store.client.search_model_versions(wanted, max_results=1000, page_token=token)
        found.extend(_version(version, aliases) for version in page)
        token = page.token
        if not token:
            return sorted(found, key=lambda version: int(version.number), reverse=True)


def _version(made: "ModelVersion", aliases: dict[str, tuple[str, ...]]) -> Version:
    number = str(made.version)
    return Version(
        made.name,
        number,
        aliases.get(number, ()),
        dict(made.tags),
        made.source or "",
        made.run_id,
        made.creation_timestamp,
    )
