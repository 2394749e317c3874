"""What cannot work is refused before the first step: what was wanted, what was got, what to do.

check_plan(base, params)             # from names and shapes alone, before a weight of the base is read
check_template(loaded.tokenizer, loaded.recipe, 256)
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from doctune.errors import DoctuneError, one_line
from doctune.models import skeleton
from doctune.prompts import Recipe, prompt_ids
from doctune.training.memory import Need, available_memory, estimate, measure
from doctune.training.methods import adapter_of, with_method
from doctune.training.params import Ia3Params, TrainParams
from doctune.training.precision import check_fast, number_format
from doctune.training.processes import rank
from doctune.vocabulary import check_trimmable

CLEARLY = 1.25  # an estimate is taken at its word from here on: it is right within a fifth (doctune.training.memory)


def check_plan(base: Path, params: TrainParams, remote_code: bool = False, section: str = "train") -> None:
    """Refuse a method that does not fit the base and a run that does not fit in memory; says what the run will take.

    `section` of params.yaml has the run's knobs.
    """
    model = skeleton(base, remote_code)
    check_length(model, params.max_length, f"{section}.max_length")
    check_method(model, params, section)
    need = estimate(measure(with_method(model, params), params), params, number_format(params) != "fp32")
    available = available_memory(params.processes)
    check_memory(need, available, section)
    if not rank():
        check_fast(params, section)
    print(f"memory: {need.text} of {available / 1e9:.1f} GB available", flush=True)


def check_method(model: Any, params: TrainParams, section: str = "train") -> None:
    """The base takes the method, and what the adapter's knobs name is there and can carry it."""
    quantised = getattr(model.config, "quantization_config", None)
    if quantised is not None:
        asker = f"train.method {params.method}" if section == "train" else section
        raise DoctuneError(
            f"{asker} wants a base of float weights, got one quantised with {_quantiser(quantised)}; use the base that it was made from"
        )
    if params.gradient_checkpointing and not model.supports_gradient_checkpointing:
        raise DoctuneError(
            f"{section}.gradient_checkpointing is true, but a {type(model).__name__} cannot do that; set it to false"
        )
    if params.trim_vocabulary:
        check_trimmable(model.config)
        if params.method != "full":
            raise DoctuneError(
                f"train.trim_vocabulary wants train.method full, got {params.method}: an adapter lies on the whole base; trim at export instead (export.trim_vocabulary)"
            )
    if params.method == "qlora":
        _check_bitsandbytes()
    adapter = adapter_of(params)
    if adapter is not None:
        knob = "train.ia3.targets" if isinstance(adapter, Ia3Params) else "train.lora.targets"
        check_targets(model, adapter.targets, knob, embeddings=not isinstance(adapter, Ia3Params))


def check_targets(model: Any, targets: Sequence[str], knob: str, embeddings: bool) -> None:
    """Each target names linear layers (or `embeddings`) of the model, none of whose weights serve another layer too."""
    import torch

    kinds = (torch.nn.Linear, torch.nn.Embedding) if embeddings else (torch.nn.Linear,)
    shared = _shared_weights(model)
    able = {
        name: module
        for name, module in model.named_modules()
        if type(module) in kinds and id(module.weight) not in shared
    }
    has = ", ".join(sorted({name.rpartition(".")[2] for name in able}))
    for target in targets:
        found = {n: m for n, m in model.named_modules() if n == target or n.endswith(f".{target}")}
        if not found:
            raise DoctuneError(f"{knob}: {target} match no module of this base; give some of {has}")
        for name, module in found.items():
            if id(getattr(module, "weight", None)) in shared:
                raise DoctuneError(
                    f"{knob}: {name} has its weights in common with {shared[id(module.weight)]}, so an adapter on one cannot be merged; give some of {has}"
                )
            if name not in able:
                raise DoctuneError(
                    f"{knob}: wanted linear layers, got {name}, a {type(module).__name__}; give some of {has}"
                )


def check_memory(need: Need, available: int, section: str = "train") -> None:
    if need.total > CLEARLY * available:
        qlora = "train.method qlora or " if section == "train" else ""
        raise DoctuneError(
            f"training wants {need.text}, but {available / 1e9:.1f} GB are available; lower {section}.batch_tokens or {section}.max_length, "
            f"set {section}.gradient_checkpointing: true, or use {qlora}a smaller base"
        )


def check_length(model: Any, length: int, knob: str = "train.max_length") -> None:
    positions = getattr(model.config, "max_position_embeddings", None)
    if positions is not None and length > positions:
        raise DoctuneError(f"{knob} is {length}, but the base has {positions} positions; set it to {positions} or less")


def check_template(tokenizer: Any, recipe: Recipe, length: int) -> None:
    """A causal model's row begins with its template: that must leave room for a text and its answer."""
    if recipe.template == "plain":
        return
    taken = len(prompt_ids(tokenizer, recipe, ""))
    if taken + 2 > length:
        raise DoctuneError(
            f"train.max_length is {length}, but the template {recipe.template} alone takes {taken} tokens; set it to {taken + 2} or more, and by as much more as texts and answers take"
        )


def _shared_weights(model: Any) -> dict[int, str]:
    """Ids of matrices that serve as embedding and as output layer both, with a name of theirs."""
    output = model.get_output_embeddings()
    tied = getattr(output, "weight", None)
    if tied is None:
        return {}
    users = [n for n, m in model.named_modules(remove_duplicate=False) if getattr(m, "weight", None) is tied]
    return {id(tied): " and ".join(users)} if len(users) > 1 else {}


def _check_bitsandbytes() -> None:
    try:
        import bitsandbytes  # noqa: F401  # asked only whether it is there
    except (ImportError, OSError) as error:
        raise DoctuneError(
            f"train.method qlora wants bitsandbytes, which cannot be imported here ({one_line(error, 120)}); install it (it is made for Linux), or use lora"
        ) from None


def _quantiser(config: Any) -> str:
    method = config.get("quant_method") if isinstance(config, dict) else getattr(config, "quant_method", None)
    return str(getattr(method, "value", method))
