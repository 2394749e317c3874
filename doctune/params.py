"""All knobs: params.yaml as one typed object, presets, and overrides from the command line.

    params = configure("k8s-small", ["train.epochs=2", "crawl.ref=v1.34"])     # validates, then writes params.yaml whole
    params = read_params()                                                     # params.yaml as it stands

A preset is a file of presets/ that names what differs from `embedded`; the effective configuration is written whole, so
params.yaml alone says what ran. Nothing is written unless everything is valid.
"""

from pathlib import Path
from typing import Any

from pydantic import Field, ValidationInfo, field_validator

from doctune.adapting.params import AdaptParams
from doctune.alignment.params import AlignParams
from doctune.bases import BaseParams
from doctune.errors import DoctuneError
from doctune.extra.params import ExtraParams
from doctune.files import whole_file
from doctune.onnx import ExportParams
from doctune.promotion.params import PromoteParams
from doctune.registry.lineage import RegisterParams
from doctune.scoring import EvaluateParams
from doctune.section import PARAMS_FILE, Section, read_yaml, validate
from doctune.sources.params import CrawlParams
from doctune.splitting import SplitParams
from doctune.sweeping.params import SweepParams
from doctune.training.params import TrainParams
from doctune.translation import TranslateParams

PRESETS = Path("presets")
DEFAULT_PRESET = "embedded"
REPLACED_WHOLE = (
    "base.links",
    "promote.floors",
    "promote.ceilings",
    "promote.losses",
    "sweep.space",
)  # mappings whose keys are data


class Params(Section):
    """One section a stage, in the order of the pipeline."""

    crawl: CrawlParams
    align: AlignParams
    extra: ExtraParams
    split: SplitParams
    base: BaseParams
    adapt: AdaptParams
    train: TrainParams
    translate: TranslateParams
    evaluate: EvaluateParams
    registration: RegisterParams = Field(alias="register")  # pydantic models have a method of the plain name
    export: ExportParams
    promote: PromoteParams
    sweep: SweepParams

    @field_validator("split")
    @classmethod
    def _has_a_past(cls, split: SplitParams, info: ValidationInfo) -> SplitParams:
        if split.test_since and "crawl" in info.data and not info.data["crawl"].since:
            raise ValueError("test_since: wanted false, or crawl.since set to an older revision to compare with")
        return split


def read_params(path: Path = PARAMS_FILE) -> Params:
    """params.yaml, validated; raises DoctuneError naming every mistake."""
    return validate(Params, read_yaml(path), f"{path}:")


def effective(preset: str | None, overrides: list[str], path: Path = PARAMS_FILE) -> Params:
    """The configuration of a run: a preset, or params.yaml as it stands, with overrides laid over it. Writes nothing."""
    if preset is None and not overrides:
        return read_params(path)
    values = load_preset(preset) if preset is not None else read_yaml(path)
    for override in overrides:
        _set(values, override)
    return validate(Params, values, f"the configuration ({', '.join([preset or path.name, *overrides])}):")


def configure(preset: str | None, overrides: list[str], path: Path = PARAMS_FILE) -> Params:
    """Write the effective configuration into params.yaml and return it; without preset and overrides only read it."""
    params = effective(preset, overrides, path)
    if preset is not None or overrides:
        write_params(params, path)
    return params


def preset_names() -> list[str]:
    return sorted(file.stem for file in PRESETS.glob("*.yaml"))


def load_preset(name: str) -> dict[str, Any]:
    """A preset as plain data: `embedded` with what the preset changes."""
    if name not in preset_names():
        raise DoctuneError(
            f"there is no preset {name!r}; presets/ has {', '.join(preset_names()) or 'none (run from the project folder)'}"
        )
    values = read_yaml(PRESETS / f"{DEFAULT_PRESET}.yaml")
    if name != DEFAULT_PRESET:
        _merge(values, read_yaml(PRESETS / f"{name}.yaml"), name)
    return values


def preset_of(params: Params) -> dict[str, Any]:
    """What a preset must say so that it gives `params`: what differs from `embedded`."""
    return _difference(load_preset(DEFAULT_PRESET), params.model_dump(by_alias=True))


def write_params(params: Params, path: Path = PARAMS_FILE) -> None:
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.width = 120
    with whole_file(path) as tmp, tmp.open("w", encoding="utf-8") as file:
        file.write(
            "# The only knobs, one section a stage. `doctune run --preset NAME --set section.key=value` writes this file whole.\n"
        )
        yaml.dump(params.model_dump(by_alias=True), file)


def _merge(values: dict[str, Any], changes: Any, name: str, where: str = "") -> None:
    """Lay a preset's changes over values, key by key; a mapping whose keys are data is replaced whole."""
    if not isinstance(changes, dict):
        raise DoctuneError(
            f"preset {name}: wanted a mapping{f' at {where}' if where else ''}, got {type(changes).__name__}"
        )
    for key, change in changes.items():
        place = f"{where}.{key}" if where else str(key)
        if isinstance(values.get(key), dict) and place not in REPLACED_WHOLE:
            _merge(values[key], change, name, place)
        else:
            values[key] = change


def _difference(values: dict[str, Any], wanted: dict[str, Any], where: str = "") -> dict[str, Any]:
    """The changes that `_merge` makes `wanted` of values with."""
    changes: dict[str, Any] = {}
    for key, value in wanted.items():
        place = f"{where}.{key}" if where else str(key)
        if isinstance(value, dict) and isinstance(values.get(key), dict) and place not in REPLACED_WHOLE:
            if inner := _difference(values[key], value, place):
                changes[key] = inner
        elif values.get(key) != value:
            changes[key] = value
    return changes


def _set(values: dict[str, Any], override: str) -> None:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    dotted, equals, text = override.partition("=")
    *sections, key = dotted.split(".")
    if not equals or not sections:
        raise DoctuneError(f"--set wants section.key=value, got {override!r}")
    for name in sections:
        values = values.get(name) if isinstance(values, dict) else None  # type: ignore[assignment]  # checked below
    if not isinstance(values, dict) or key not in values:
        raise DoctuneError(f"--set {override}: there is no knob {dotted}; params.yaml lists them all")
    try:
        values[key] = YAML(typ="safe", pure=True).load(text)
    except YAMLError:
        values[key] = text
