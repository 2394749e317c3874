"""The base model: fetched from a local folder or a hub and made one folder of safetensors with its recipe.

    models/fetched/    config.json, *.safetensors, tokenizer files, doctune.json

Weights are safetensors only; pickled weights and a repository's own code are refused unless the `base` section opts in.
"""

import re
import shutil
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from doctune.errors import DoctuneError
from doctune.files import hash_path, whole_dir
from doctune.models import load_model
from doctune.prompts import Recipe, check_tokenizer, write_recipe
from doctune.section import Section

COPIED = ("*.json", "*.safetensors", "*.spm", "*.model", "merges.txt", "vocab.txt", "*.jinja", "README.md", "LICENSE*")
PICKLED = ("pytorch_model*.bin",)


class BaseParams(Section):
    """The `base` section: where the base model comes from and how it is prompted."""

    source: Literal["folder", "hub"]
    path: str = Field(min_length=1)
    hub_id: str
    revision: str
    pickled_weights: bool
    remote_code: bool
    template: Literal["plain", "chatml"]
    placeholders: bool
    links: dict[str, str]
    target_prefix: str

    @model_validator(mode="after")
    def _pinned(self) -> Self:
        if self.source == "hub" and not (self.hub_id and re.fullmatch(r"[0-9a-f]{40}", self.revision)):
            raise ValueError(
                f"source: hub wants hub_id and a revision of 40 hex digits (a moving branch cannot be reproduced), got {self.hub_id!r} at {self.revision!r}"
            )
        return self

    @property
    def recipe(self) -> Recipe:
        return Recipe(
            template=self.template, placeholders=self.placeholders, links=self.links, target_prefix=self.target_prefix
        )


def materialise_base(params: BaseParams, out: Path) -> dict[str, Any]:
    """Write the base as a whole folder of safetensors with its tokenizer and recipe; returns facts for the report."""
    source = Path(params.path) if params.source == "folder" else _download(params)
    _check_folder(source, params)
    with whole_dir(out) as tmp:
        for pattern in (*COPIED, *(("*.py",) if params.remote_code else ())):
            for file in sorted(source.glob(pattern)):
                shutil.copyfile(file, tmp / file.name)  # follows the hub cache's links: content, not links
        if not any(tmp.glob("*.safetensors")):
            _convert_pickled(source, tmp, params)
        write_recipe(tmp, params.recipe)
        loaded = load_model(tmp, remote_code=params.remote_code)
        check_tokenizer(loaded.tokenizer, params.recipe)
        if params.template == "chatml" and not loaded.tokenizer.chat_template:
            raise DoctuneError(
                f"base.template is chatml, but the tokenizer of {params.hub_id or params.path} has no chat template; use a base that has one"
            )
        facts = {
            "origin": f"{params.hub_id}@{params.revision}" if params.source == "hub" else params.path,
            "architecture": loaded.model.config.architectures[0],
            "parameters": loaded.model.num_parameters(),
            "vocabulary": len(loaded.tokenizer),
        }
    return facts | {"hash": hash_path(out)}


def _check_folder(source: Path, params: BaseParams) -> None:
    if not source.is_dir():
        raise DoctuneError(f"base.path: {source} is not a folder; give the folder of a Hugging Face model")
    if not (source / "config.json").is_file():
        raise DoctuneError(f"base.path: {source} has no config.json, so it is no Hugging Face model folder")
    safe, pickled = any(source.glob("*.safetensors")), any(p for pattern in PICKLED for p in source.glob(pattern))
    if not safe and not pickled:
        raise DoctuneError(f"base {source} has no weights (wanted *.safetensors); restore them, or make the base again")
    if not safe and not params.pickled_weights:
        raise DoctuneError(
            f"base {source} has pickled weights only (wanted *.safetensors); set base.pickled_weights: true to convert them once, without running code from the pickle"
        )


def _download(params: BaseParams) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    patterns = [*COPIED, *(PICKLED if params.pickled_weights else ()), *(("*.py",) if params.remote_code else ())]
    try:
        return Path(snapshot_download(params.hub_id, revision=params.revision, allow_patterns=patterns))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise DoctuneError(
            f"could not fetch {params.hub_id} at {params.revision} from the hub: {' '.join(str(error).split())[:200]}; check the network, HF_ENDPOINT and HF_TOKEN"
        ) from error


def _convert_pickled(source: Path, out: Path, params: BaseParams) -> None:
    """Load pickled weights with torch's restricted unpickler (weights_only) and save them as safetensors."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM

    config = AutoConfig.from_pretrained(source, trust_remote_code=params.remote_code, local_files_only=True)
    kind = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    try:
        model = kind.from_pretrained(
            source,
            dtype=torch.float32,
            use_safetensors=False,
            weights_only=True,
            local_files_only=True,
            trust_remote_code=params.remote_code,
        )
    except Exception as error:  # the unpickler raises many types; each means the file is not plain weights
        raise DoctuneError(
            f"the pickled weights of {source} cannot be read as plain tensors: {' '.join(str(error).split())[:200]}"
        ) from error
    model.save_pretrained(out, safe_serialization=True)
