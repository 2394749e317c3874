"""Fine-tuning methods: which weights of a base learn."""

from typing import Any

from doctune.errors import DoctuneError
from doctune.training.params import LoraParams


def add_adapter(model: Any, lora: LoraParams, seq2seq: bool) -> Any:
    """Put LoRA adapters on the modules whose names end in `lora.targets`."""
    from peft import LoraConfig, TaskType, get_peft_model

    names = {name.rsplit(".", 1)[-1] for name, module in model.named_modules() if hasattr(module, "weight") and name}
    if missing := [target for target in lora.targets if target not in names]:
        raise DoctuneError(
            f"train.lora.targets: {', '.join(missing)} match no module of this base; it has {', '.join(sorted(names))}"
        )
    return get_peft_model(
        model,
        LoraConfig(
            task_type=TaskType.SEQ_2_SEQ_LM if seq2seq else TaskType.CAUSAL_LM,
            r=lora.r,
            lora_alpha=lora.alpha,
            lora_dropout=lora.dropout,
            target_modules=list(lora.targets),
        ),
    )
