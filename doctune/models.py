"""Model folders: opening what a stage wrote, and writing one.

models/base/    config.json, *.safetensors, tokenizer files, doctune.json        (doctune.bases, doctune.adapting)
models/tuned/   the same, or a PEFT adapter (adapter_config.json) on models/base (doctune.pinning)

A base is kept in full precision whatever it was trained in: an adapter trained on 4-bit weights (QLoRA) is put on, and merged
into, the weights that were never rounded. What is judged, merged, exported and shipped is that one model.

No code of a folder runs unless the caller says `remote_code` (see `doctune.trust`).
"""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from doctune.errors import DoctuneError, one_line
from doctune.files import read_json, whole_dir, write_json
from doctune.pinning import check_pin, write_pin
from doctune.prompts import Recipe, check_template, read_recipe, set_padding, write_recipe

if TYPE_CHECKING:
    import torch

ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


class Loaded(NamedTuple):
    model: Any
    tokenizer: Any
    recipe: Recipe

    @property
    def seq2seq(self) -> bool:
        return bool(self.model.config.is_encoder_decoder)


def load_model(
    folder: Path, base: Path | None = None, remote_code: bool = False, nf4: "torch.dtype | None" = None
) -> Loaded:
    """Open a model folder in float32: a whole model, or an adapter put on `base`.

    With `nf4` the matrices inside the layers are held in 4 bits (QLoRA) and multiplied in that type: to train an adapter on,
    not to save or merge.
    """
    # It advises an optional package for 4-bit kernels each time it is imported (which PEFT and the Trainer do).
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    import torch
    from safetensors import SafetensorError
    from transformers import AutoConfig, AutoTokenizer

    adapter = is_adapter(folder)
    if adapter and base is None:
        raise DoctuneError(f"{folder} holds an adapter; give its base model's folder too (--base)")
    whole = base if adapter and base is not None else folder
    _check_config(whole)
    if adapter:
        check_adapter(folder, whole)
    try:
        config = AutoConfig.from_pretrained(whole, trust_remote_code=remote_code, local_files_only=True)
        model = _kind(config).from_pretrained(
            whole,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=remote_code,
            local_files_only=True,
            **({"quantization_config": _nf4(nf4)} if nf4 else {}),
        )
        tokenizer = AutoTokenizer.from_pretrained(whole, trust_remote_code=remote_code, local_files_only=True)
        if adapter:
            from peft import PeftModel

            model = PeftModel.from_pretrained(model, str(folder))
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError, ImportError) as error:
        if not remote_code and "trust_remote_code" in str(error):
            raise DoctuneError(
                f"{whole} needs Python code of its own, which is not run; where you trust it, set base.remote_code: true in params.yaml"
            ) from error
        raise DoctuneError(f"{whole} cannot be opened as a model: {one_line(error)}") from error
    if nf4:
        _keep_layout(model)
    loaded = Loaded(model, tokenizer, read_recipe(folder))
    check_template(loaded.recipe, loaded.seq2seq, str(folder))
    set_padding(tokenizer, loaded.recipe)
    return loaded


def skeleton(folder: Path, remote_code: bool = False) -> Any:
    """The model of a folder without its weights (on PyTorch's meta device): shapes and names at no cost in memory."""
    # It advises an optional package for 4-bit kernels each time it is imported (which PEFT and the Trainer do).
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    import torch
    from transformers import AutoConfig

    _check_config(folder)
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=remote_code, local_files_only=True)
        with torch.device("meta"):
            return _kind(config).from_config(config, trust_remote_code=remote_code)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise DoctuneError(f"{folder} cannot be opened as a model: {one_line(error)}") from error


def is_adapter(folder: Path) -> bool:
    return (folder / ADAPTER_CONFIG).is_file()


def check_adapter(folder: Path, base: Path) -> None:
    """Refuse an adapter of another base, or without its weights: PEFT would take pickled ones instead, or ask the hub for a
    repository of the folder's name."""
    check_pin(folder, base)
    if not (folder / ADAPTER_WEIGHTS).is_file():
        raise DoctuneError(
            f"the adapter {folder} has no {ADAPTER_WEIGHTS}; restore it (dvc checkout) or make it with the train stage"
        )


def merged(loaded: Loaded) -> Loaded:
    """The same model with its adapter's weights worked into the base's; a whole model comes back as it is."""
    if not hasattr(loaded.model, "merge_and_unload"):
        return loaded
    if getattr(loaded.model.get_base_model(), "is_loaded_in_4bit", False):
        raise DoctuneError(
            "an adapter is merged into full precision, but this base is held in 4 bits; save it and open it on its base"
        )
    return loaded._replace(model=loaded.model.merge_and_unload())


def save_model(loaded: Loaded, out: Path) -> None:
    """Write model (or adapter, with the hash of its base), tokenizer and recipe as one whole folder."""
    with whole_dir(out) as tmp:
        loaded.model.save_pretrained(tmp, safe_serialization=True)
        loaded.tokenizer.save_pretrained(tmp)
        write_recipe(tmp, loaded.recipe)
        for card in tmp.glob("README.md"):  # PEFT's template card, full of placeholders
            card.unlink()
        if is_adapter(tmp):
            _sort_lists(tmp / ADAPTER_CONFIG)
            write_pin(tmp, Path(loaded.model.get_base_model().name_or_path))


def _check_config(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise DoctuneError(
            f"{folder} is not a model folder: it has no config.json; run the stage that writes it, or point to another folder"
        )


def _kind(config: Any) -> Any:
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

    return AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM


def _nf4(products: "torch.dtype") -> Any:
    """QLoRA's format (Dettmers et al. 2023): 4-bit NormalFloat, scales quantised too; there products are in bfloat16."""
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=products,
        llm_int8_skip_modules=["lm_head"],  # and embeddings, which are no linear layers: often one tied matrix
    )


def _keep_layout(model: Any) -> None:
    """Keep bitsandbytes from turning weights round for faster answers on processors with AVX-512 BF16.

    It does so at the first evaluation and not back again for training, and that layout has no gradients: from then on only
    adapters above the last such layer would learn, without a word.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def _sort_lists(path: Path) -> None:
    """PEFT writes sets in whatever order they have; the same adapter is to have the same bytes."""
    write_json(path, {k: sorted(value) if _is_names(value) else value for k, value in read_json(path).items()})


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
