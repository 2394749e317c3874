"""One fine-tuning run, from a base folder and two splits to a model folder; a killed run goes on where it was.

    result = fine_tune(base, train_rows, valid_rows, params, work=Path(".doctune/checkpoints/3f2a..."), callbacks=[])
    save_model(result.loaded, Path("models/tuned"))

`work` belongs to this run alone: its name is the fingerprint of everything that decides the result.
"""

import logging
import sys
from pathlib import Path
from typing import Any, NamedTuple

from doctune.models import Loaded, load_model
from doctune.prompts import check_tokenizer
from doctune.training.checkpoints import last_checkpoint
from doctune.training.checks import check_length
from doctune.training.data import EncodedPairs
from doctune.training.methods import add_adapter
from doctune.training.params import TrainParams
from doctune.training.precision import use_bf16
from doctune.training.reporters import check_reporters, reporting

LOG_STEPS = 10


class Trained(NamedTuple):
    loaded: Loaded
    history: list[dict[str, float]]
    facts: dict[str, Any]


def fine_tune(
    base: Path,
    train: list[dict[str, Any]],
    valid: list[dict[str, Any]],
    params: TrainParams,
    work: Path,
    callbacks: list[Any],
) -> Trained:
    """Train on rows with `en` and `zh`, keep the weights of the lowest validation loss."""
    check_reporters(params)
    loaded = load_model(base)
    check_tokenizer(loaded.tokenizer, loaded.recipe)
    model = add_adapter(loaded.model, params.lora, loaded.seq2seq) if params.method == "lora" else loaded.model
    loaded = loaded._replace(model=model)
    check_length(model, params.max_length)
    data = [EncodedPairs(loaded.tokenizer, loaded.recipe, rows, params.max_length) for rows in (train, valid)]
    return run_training(loaded, data[0], data[1], params, work, callbacks)


def run_training(
    loaded: Loaded,
    train: EncodedPairs,
    valid: EncodedPairs,
    params: TrainParams,
    work: Path,
    callbacks: list[Any],
    optimizer: Any = None,
) -> Trained:
    """Train `loaded` on encoded examples, resuming from the newest whole checkpoint in `work`."""
    import torch
    import transformers
    from transformers import TrainerState, TrainingArguments
    from transformers.trainer_callback import PrinterCallback

    from doctune.training.trainer import TranslationTrainer
    from doctune.training.watching import Clock, LastPoint, PlainLines

    transformers.set_seed(params.seed)
    # It warns of tied and constant weights, which checkpoints leave out on purpose, whenever the best one is loaded.
    logging.getLogger("transformers.trainer").setLevel(logging.ERROR)
    torch.set_flush_denormal(True)  # tiny weights would slow a CPU down without changing a result
    bf16 = use_bf16(params)
    decay = {"num_decay_steps": max(1, params.max_steps // 3)} if params.schedule == "warmup_stable_decay" else {}
    interactive = sys.stderr.isatty()
    arguments = TrainingArguments(
        output_dir=str(work),
        num_train_epochs=params.epochs,
        max_steps=params.max_steps,
        learning_rate=params.learning_rate,
        lr_scheduler_type=params.schedule,
        lr_scheduler_kwargs=decay,
        warmup_ratio=params.warmup_ratio,
        weight_decay=params.weight_decay,
        label_smoothing_factor=params.label_smoothing,
        gradient_accumulation_steps=params.gradient_accumulation,
        adam_beta2=0.98,
        optim="adamw_torch_fused",
        bf16=bf16,
        use_cpu=not torch.cuda.is_available(),
        eval_strategy="steps",
        eval_steps=params.eval_steps,
        save_strategy="steps",
        save_steps=params.eval_steps,
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        logging_steps=LOG_STEPS,
        logging_first_step=True,
        **reporting(params, work.name),
        disable_tqdm=not interactive,
        seed=params.seed,
        data_seed=params.seed,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        prediction_loss_only=True,
        label_names=["labels"],
    )
    trainer = TranslationTrainer(
        model=loaded.model,
        args=arguments,
        train_dataset=train,
        eval_dataset=valid,
        processing_class=loaded.tokenizer,
        batch_tokens=params.batch_tokens,
        callbacks=[LastPoint(), Clock(), *([] if interactive else [PlainLines()]), *callbacks],
        optimizers=(optimizer, None),
    )
    trainer.remove_callback(PrinterCallback)
    checkpoint = last_checkpoint(work)
    state = TrainerState.load_from_json(f"{checkpoint}/trainer_state.json") if checkpoint else None
    if state and state.global_step >= state.max_steps > 0:  # the Trainer would take one step too many
        trainer.state = state
        trainer._load_best_model()
    else:
        trainer.train(resume_from_checkpoint=checkpoint)
    history = trainer.state.log_history
    evaluations = [entry["eval_loss"] for entry in history if "eval_loss" in entry]
    return Trained(
        loaded,
        history,
        {
            "steps": trainer.state.global_step,
            "train_rows": len(train),
            "valid_rows": len(valid),
            "truncated_rows": train.truncated + valid.truncated,
            "target_tokens_per_epoch": train.target_tokens(),
            "parameters": sum(p.numel() for p in loaded.model.parameters()),
            "trainable_parameters": sum(p.numel() for p in loaded.model.parameters() if p.requires_grad),
            "precision": "bf16" if bf16 else "fp32",
            "valid_loss": round(min(evaluations), 5),
            "last_valid_loss": round(evaluations[-1], 5),
        },
    )
