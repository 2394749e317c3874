"""Fine-tuning methods: which weights of a base learn, and what is put between them.

    loaded = open_for_training(Path("models/base"), params)      # params.method: full, lora, dora, qlora or ia3

`full` trains the base's own weights. The others freeze them and train a few beside them (PEFT): `save_model` then writes the
few alone, and `doctune.models.merged` works them into the base.
"""

from pathlib import Path
from typing import Any

from doctune.models import Loaded, load_model
from doctune.training.params import Ia3Params, LoraParams, TrainParams
from doctune.training.precision import dtype_of, number_format


def adapter_of(params: TrainParams) -> LoraParams | Ia3Params | None:
    """The knobs of the method's adapter; None where the base itself learns."""
    if params.method == "full":
        return None
    return params.ia3 if params.method == "ia3" else params.lora


def open_for_training(base: Path, params: TrainParams, remote_code: bool = False) -> Loaded:
    """Open the base as the method wants it, adapters in place. `doctune.training.checks` says beforehand what cannot work."""
    from transformers import set_seed

    loaded = load_model(
        base, remote_code=remote_code, nf4=dtype_of(number_format(params)) if params.method == "qlora" else None
    )
    set_seed(params.seed)  # adapters begin at random
    model = with_method(loaded.model, params)
    if params.gradient_checkpointing and model is not loaded.model:
        # layers are computed anew in the backward pass; with a frozen base their inputs would otherwise ask for no gradient
        model.enable_input_require_grads()
    return loaded._replace(model=model)


def with_method(model: Any, params: TrainParams) -> Any:
    """The model with the adapters of its method, if it has any."""
    adapter = adapter_of(params)
    return model if adapter is None else add_adapter(model, adapter, dora=params.method == "dora")


def add_adapter(model: Any, adapter: LoraParams | Ia3Params, dora: bool = False) -> Any:
    """Freeze the model and put adapters on the modules whose names end in `adapter.targets`."""
    from peft import IA3Config, LoraConfig, PeftConfig, TaskType, get_peft_model

    task = TaskType.SEQ_2_SEQ_LM if model.config.is_encoder_decoder else TaskType.CAUSAL_LM
    targets = list(adapter.targets)
    config: PeftConfig
    if isinstance(adapter, Ia3Params):
        config = IA3Config(task_type=task, target_modules=targets, feedforward_modules=list(adapter.feedforward))
    else:
        config = LoraConfig(
            task_type=task,
            r=adapter.r,
            lora_alpha=adapter.alpha,
            lora_dropout=adapter.dropout,
            target_modules=targets,
            use_dora=dora,
        )
    # of a model without weights (doctune.models.skeleton) the adapters have none either
    return get_peft_model(model, config, low_cpu_mem_usage=model.device.type == "meta")


def count_parameters(model: Any) -> tuple[int, int]:
    """All weights and those that learn, each counted once; 4-bit ones for what they stand for, not for the bytes they fill."""
    sizes = [(_size(weight), weight.requires_grad) for weight in model.parameters()]
    return sum(size for size, _ in sizes), sum(size for size, learns in sizes if learns)


def _size(weight: Any) -> int:
    state = getattr(weight, "quant_state", None)
    return int(weight.numel() if state is None else state.shape.numel())
