"""The base model: fetched from a local folder or a hub and made one folder of safetensors with its recipe.

    models/fetched/    config.json, *.safetensors, tokenizer files, doctune.json

Weights are safetensors only; pickled weights and a repository's own code are refused unless the `base` section opts in.
"""

import re
import shutil
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from doctune.errors import DoctuneError, one_line
from doctune.files import hash_path, read_json, whole_dir
from doctune.hubs import from_hub, from_modelscope
from doctune.models import load_model
from doctune.prompts import Recipe, TemplateName, check_tokenizer, write_recipe
from doctune.section import COMMIT, Section

COPIED = ("*.json", "*.safetensors", "*.spm", "*.model", "merges.txt", "vocab.txt", "*.jinja", "README.md", "LICENSE*")
PICKLED = ("pytorch_model*.bin",)
PICKLED_INDEX = "pytorch_model.bin.index.json"
CODE = ("*.py",)


class BaseParams(Section):
    """The `base` section: where the base model comes from and how it is prompted."""

    source: Literal["folder", "hub", "modelscope"]
    path: str = Field(min_length=1)
    hub_id: str
    revision: str
    pickled_weights: bool
    remote_code: bool
    template: TemplateName
    placeholders: bool
    links: dict[str, str]
    target_prefix: str

    @model_validator(mode="after")
    def _pinned(self) -> Self:
        if self.source != "folder" and not (self.hub_id and COMMIT.fullmatch(self.revision)):
            raise ValueError(
                f"source: {self.source} wants hub_id and a revision of 40 hex digits (a moving branch cannot be reproduced), got {self.hub_id!r} at {self.revision!r}"
            )
        return self

    @property
    def recipe(self) -> Recipe:
        return Recipe(
            template=self.template, placeholders=self.placeholders, links=self.links, target_prefix=self.target_prefix
        )

    @property
    def origin(self) -> str:
        """Where the base comes from, as the stage's report names it."""
        return self.path if self.source == "folder" else f"{self.hub_id}@{self.revision}"

    @property
    def wanted(self) -> list[str]:
        """Patterns of the files that make the base; a pickle or code is not even fetched unless it is asked for."""
        return [*COPIED, *(PICKLED if self.pickled_weights else ()), *(CODE if self.remote_code else ())]


def check_origin(params: BaseParams, report: Path) -> None:
    """Refuse a base that was made for another `base` section; without the stage's report nobody can tell."""
    if report.is_file() and (made_of := read_json(report)["origin"]) != params.origin:
        raise DoctuneError(
            f"wanted a base made of {params.origin}, got one of {made_of}; make it with `dvc repro adapt` first"
        )


def materialise_base(params: BaseParams, out: Path) -> dict[str, Any]:
    """Write the base as a whole folder of safetensors with its tokenizer and recipe; returns facts for the report."""
    source = _fetch(params)
    _check_folder(source, params)
    with whole_dir(out) as tmp:
        for pattern in (*COPIED, *(CODE if params.remote_code else ())):
            for file in sorted(source.glob(pattern)):
                if file.name != PICKLED_INDEX:
                    shutil.copyfile(file, tmp / file.name)  # follows the hub cache's links: content, not links
        if params.remote_code:
            _check_code(tmp)
        if not any(tmp.glob("*.safetensors")):
            _convert_pickled(source, tmp, params)
        write_recipe(tmp, params.recipe)
        loaded = load_model(tmp, remote_code=params.remote_code)
        check_tokenizer(loaded.tokenizer, params.recipe)
        facts = {
            "origin": params.origin,
            "architecture": type(loaded.model).__name__,
            "parameters": loaded.model.num_parameters(),
            "vocabulary": len(loaded.tokenizer),
        }
    return facts | {"hash": hash_path(out)}


def _fetch(params: BaseParams) -> Path:
    match params.source:
        case "folder":
            return Path(params.path)
        case "hub":
            return from_hub(params.hub_id, params.revision, params.wanted)
        case "modelscope":
            return from_modelscope(params.hub_id, params.revision, params.wanted)


def _check_folder(source: Path, params: BaseParams) -> None:
    if not source.is_dir():
        raise DoctuneError(f"base {params.origin} is not a folder; give the folder of a Hugging Face model")
    if not (source / "config.json").is_file():
        raise DoctuneError(f"base {params.origin} has no config.json, so it is no Hugging Face model")
    safe, pickled = any(source.glob("*.safetensors")), any(p for pattern in PICKLED for p in source.glob(pattern))
    if not safe and not pickled:
        raise DoctuneError(
            f"base {params.origin} has no weights (wanted *.safetensors); restore them, or give another base"
        )
    if not safe and not params.pickled_weights:
        raise DoctuneError(
            f"base {params.origin} has pickled weights only (wanted *.safetensors); set base.pickled_weights: true to convert them once, without running code from the pickle"
        )


def _check_code(folder: Path) -> None:
    """Refuse code that config files name in another repository (owner/name--module.Class): no revision pins it."""
    for name in ("config.json", "tokenizer_config.json"):
        named = read_json(folder / name).get("auto_map", {}) if (folder / name).is_file() else {}
        if elsewhere := re.search(r"[\w./-]+--[\w.]+", str(named)):
            raise DoctuneError(
                f"{name} of the base names code of another repository ({elsewhere[0]}), which base.revision does not pin; copy the base to a folder of yours with that code in it"
            )


def _convert_pickled(source: Path, out: Path, params: BaseParams) -> None:
    """Load pickled weights, one file or shards with an index, with torch's restricted unpickler (weights_only) and save
    them as safetensors in the number format that they have."""
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM

    try:
        config = AutoConfig.from_pretrained(source, trust_remote_code=params.remote_code, local_files_only=True)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise DoctuneError(
            f"config.json of {source} cannot be read: {one_line(error, 200)}; a model with code of its own wants base.remote_code: true"
        ) from error
    kind = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    try:
        model = kind.from_pretrained(
            source,
            dtype="auto",
            use_safetensors=False,
            weights_only=True,
            local_files_only=True,
            trust_remote_code=params.remote_code,
        )
    except Exception as error:  # the unpickler raises many types; each means the file is not plain weights
        raise DoctuneError(
            f"the pickled weights of {source} cannot be read as plain tensors: {one_line(error, 200)}"
        ) from error
    model.save_pretrained(out, safe_serialization=True)
