"""Model folders: opening what a stage wrote, and writing one.

models/base/    config.json, *.safetensors, tokenizer files, doctune.json        (doctune.bases, doctune.adapting)
models/tuned/   the same, or a PEFT adapter (adapter_config.json) on models/base
"""

import logging
from pathlib import Path
from typing import Any, NamedTuple

from doctune.errors import DoctuneError
from doctune.files import whole_dir
from doctune.prompts import Recipe, read_recipe, write_recipe


class Loaded(NamedTuple):
    model: Any
    tokenizer: Any
    recipe: Recipe

    @property
    def seq2seq(self) -> bool:
        return bool(self.model.config.is_encoder_decoder)


def load_model(folder: Path, base: Path | None = None, remote_code: bool = False) -> Loaded:
    """Open a model folder in float32: a whole model, or an adapter put on `base`."""
    # It advises an optional package for 4-bit kernels each time it is imported (which PEFT and the Trainer do).
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    import torch
    from safetensors import SafetensorError
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

    adapter = (folder / "adapter_config.json").is_file()
    if adapter and base is None:
        raise DoctuneError(f"{folder} holds an adapter; give its base model's folder too (--base)")
    whole = base if adapter and base is not None else folder
    if not (whole / "config.json").is_file():
        raise DoctuneError(
            f"{whole} is not a model folder: it has no config.json; run the stage that writes it, or point to another folder"
        )
    try:
        config = AutoConfig.from_pretrained(whole, trust_remote_code=remote_code, local_files_only=True)
        kind = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
        model = kind.from_pretrained(
            whole, dtype=torch.float32, use_safetensors=True, trust_remote_code=remote_code, local_files_only=True
        )
        tokenizer = AutoTokenizer.from_pretrained(whole, trust_remote_code=remote_code, local_files_only=True)
        if adapter:
            from peft import PeftModel

            model = PeftModel.from_pretrained(model, str(folder))
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise DoctuneError(f"{whole} cannot be opened as a model: {' '.join(str(error).split())[:300]}") from error
    return Loaded(model, tokenizer, read_recipe(folder))


def merged(loaded: Loaded) -> Loaded:
    """The same model with its adapter's weights added into the base's; a whole model comes back as it is."""
    return (
        loaded._replace(model=loaded.model.merge_and_unload()) if hasattr(loaded.model, "merge_and_unload") else loaded
    )


def save_model(loaded: Loaded, out: Path) -> None:
    """Write model (or adapter), tokenizer and recipe as one whole folder."""
    with whole_dir(out) as tmp:
        loaded.model.save_pretrained(tmp, safe_serialization=True)
        loaded.tokenizer.save_pretrained(tmp)
        write_recipe(tmp, loaded.recipe)
        for card in tmp.glob("README.md"):  # PEFT's template card, full of placeholders
            card.unlink()
