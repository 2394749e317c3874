"""One fine-tuning run, from a base folder and two splits to a model folder; a killed run goes on where it was.

    result = fine_tune(base, train_rows, valid_rows, params, work=Path(".doctune/checkpoints/3f2a..."), callbacks=[])
    save_model(result.loaded, Path("models/tuned"))

`work` belongs to this run alone: its name is the fingerprint of everything that decides the result.
"""

import logging
import sys
from math import isfinite, nan
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from doctune.errors import DoctuneError, one_line
from doctune.models import Loaded
from doctune.prompts import check_tokenizer
from doctune.training.checkpoints import has_ended, last_checkpoint, read_state
from doctune.training.checks import check_plan, check_template
from doctune.training.data import Batching, EncodedPairs, Examples
from doctune.training.loss import check_own_loss
from doctune.training.memory import keep_few_shapes
from doctune.training.methods import count_parameters, open_for_training
from doctune.training.packing import check_packing
from doctune.training.params import TrainParams
from doctune.training.precision import number_format
from doctune.training.processes import check_processes, first_alone, take_own_gpu
from doctune.training.reporters import check_reporters, reporting, tensorboard
from doctune.vocabulary import trim

if TYPE_CHECKING:
    from doctune.training.trainer import Arguments

LOG_STEPS = 10
FULL = ("out of memory", "can't allocate memory")  # of a GPU, of PyTorch's allocator on CPUs
MUCH_CUT = 0.01  # share of rows cut at max_length from which on a run says so


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
    tokens: Path | None = None,
    remote_code: bool = False,
) -> Trained:
    """Train on rows with `en` and `zh`, keep the weights of the best evaluation.

    Tokens are kept in the folder `tokens`, which runs share, or else in `work`. Code of the base's own runs with `remote_code`.
    """
    keep_few_shapes()
    take_own_gpu()
    check_reporters(params)
    check_plan(base, params, remote_code)
    loaded = open_for_training(base, params, remote_code)
    if params.trim_vocabulary:
        loaded = trim(loaded, train)
    check_tokenizer(loaded.tokenizer, loaded.recipe)
    check_template(loaded.tokenizer, loaded.recipe, params.max_length)
    check_own_loss(loaded)
    if params.packing:
        check_packing(loaded)
    folder = tokens or work / "tokens"
    data = first_alone(
        lambda: [
            EncodedPairs(loaded.tokenizer, loaded.recipe, rows, params.max_length, folder) for rows in (train, valid)
        ]
    )
    _tell_cut(data[0], params.max_length)
    return run_training(loaded, data[0], data[1], params, work, callbacks, valid_rows=valid)


def _tell_cut(data: Examples, length: int) -> None:
    if data.cut.share > MUCH_CUT:
        print(
            f"{data.cut.share:.1%} of the training rows are longer than train.max_length ({length} tokens): "
            f"{data.cut.sources:,} sources and {data.cut.answers:,} answers are cut there, "
            f"{data.cut.answerless:,} rows have no room for an answer and are left out",
            flush=True,
        )


def run_training(
    loaded: Loaded,
    train: Examples,
    valid: Examples,
    params: TrainParams,
    work: Path,
    callbacks: list[Any],
    optimizer: Any = None,
    valid_rows: list[dict[str, Any]] | None = None,
    measure_first: bool = False,
    section: str = "train",
) -> Trained:
    """Train `loaded` on encoded examples, resuming from the newest whole checkpoint in `work`.

    `valid_rows` are the texts of `valid`, for `choose_by: chrf`; `measure_first`: the history begins with the validation loss
    before the first step. `section` of params.yaml has the run's knobs.
    """
    import torch
    import transformers
    from transformers import EarlyStoppingCallback
    from transformers.trainer_callback import PrinterCallback

    from doctune.training.compiling import check_compiler, compile_body
    from doctune.training.custom_loss import load_loss
    from doctune.training.quality import Quality
    from doctune.training.trainer import TranslationTrainer
    from doctune.training.watching import Clock, Diverged, LastPoint, PlainLines

    keep_few_shapes()
    check_processes(params.processes, section)
    precision = number_format(params)
    custom_loss = load_loss(params.loss) if params.loss else None
    quality = Quality(loaded, valid_rows or [], params.seed) if params.choose_by == "chrf" else None
    if params.compile:
        check_compiler("cuda" if torch.cuda.is_available() else "cpu")
    transformers.set_seed(params.seed)
    # It warns of tied and constant weights, which checkpoints leave out on purpose, whenever the best one is loaded.
    logging.getLogger("transformers.trainer").setLevel(logging.ERROR)
    torch.set_flush_denormal(True)  # tiny weights would slow a CPU down without changing a result
    arguments = _arguments(params, work, precision, measure_first)
    if params.compile:
        compile_body(loaded.model)
    trainer = TranslationTrainer(
        model=loaded.model,
        args=arguments,
        train_dataset=train,
        eval_dataset=valid,
        processing_class=loaded.tokenizer,
        batching=Batching.of(params),
        custom_loss=custom_loss,
        quality=quality,
        callbacks=[
            LastPoint(),
            Diverged(),
            Clock(),
            *([EarlyStoppingCallback(params.patience)] if params.patience else []),
            *([PlainLines()] if arguments.disable_tqdm and not arguments.process_index else []),
            *callbacks,
        ],
        optimizers=(optimizer, None),
    )
    trainer.remove_callback(PrinterCallback)
    if not params.eval_steps:
        arguments.eval_steps = arguments.save_steps = trainer.updates_per_epoch()
    if params.schedule == "warmup_stable_decay":
        updates = params.max_steps if params.max_steps > 0 else trainer.updates_per_epoch() * params.epochs
        arguments.lr_scheduler_kwargs = {"num_decay_steps": max(1, int(updates) // 3)}
    checkpoint = first_alone(lambda: last_checkpoint(work))
    state = read_state(checkpoint) if checkpoint else None
    if state and has_ended(state):  # the Trainer would take one step too many
        trainer.state = state
        if state.best_model_checkpoint:
            trainer._load_best_model()
    else:
        for callback in tensorboard(params, work.name, state.global_step if state else 0):
            trainer.add_callback(callback)
        try:
            trainer.train(resume_from_checkpoint=checkpoint)
        except RuntimeError as error:
            if not any(words in str(error) for words in FULL):
                raise
            raise DoctuneError(
                f"the memory was full in step {trainer.state.global_step + 1} ({one_line(error, 100)}); lower {section}.batch_tokens, or "
                f"set {section}.gradient_checkpointing: true (with either the training begins anew)"
            ) from error
    return Trained(loaded, trainer.state.log_history, _facts(loaded, train, valid, params, precision, trainer.state))


def _arguments(params: TrainParams, work: Path, precision: str, measure_first: bool) -> "Arguments":
    """The knobs as transformers' Trainer names them, and what no knob is for."""
    import torch

    from doctune.training.trainer import Arguments

    found = Arguments(
        output_dir=str(work),
        num_train_epochs=params.epochs,
        max_steps=params.max_steps,
        learning_rate=params.learning_rate,
        lr_scheduler_type=params.schedule,
        warmup_ratio=params.warmup_ratio,
        weight_decay=params.weight_decay,
        label_smoothing_factor=params.label_smoothing,
        gradient_accumulation_steps=params.gradient_accumulation,
        gradient_checkpointing=params.gradient_checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False},
        adam_beta2=0.98,
        optim="adamw_torch_fused",
        bf16=precision == "bf16",
        fp16=precision == "fp16",
        use_cpu=not torch.cuda.is_available(),
        eval_strategy="steps",
        eval_on_start=measure_first and last_checkpoint(work) is None,
        eval_steps=params.eval_steps or 1,
        save_strategy="steps",
        save_steps=params.eval_steps or 1,
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model="eval_chrf" if params.choose_by == "chrf" else "eval_loss",
        greater_is_better=params.choose_by == "chrf",
        restore_callback_states_from_checkpoint=True,  # how long patience has lasted
        # It would hide that a run diverged; in fp16 such a step may come by itself, and the scaler skips it.
        logging_nan_inf_filter=precision == "fp16",
        logging_steps=LOG_STEPS,
        logging_first_step=True,
        **reporting(params, work),
        disable_tqdm=not sys.stderr.isatty(),
        seed=params.seed,
        data_seed=params.seed,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        prediction_loss_only=True,
        label_names=["labels"],
        ddp_find_unused_parameters=False,
    )
    found._n_gpu = min(1, found.n_gpu)  # several GPUs take several processes
    return found


def _facts(
    loaded: Loaded, train: Examples, valid: Examples, params: TrainParams, precision: str, state: Any
) -> dict[str, Any]:
    """What the stage's report says of a run that has ended."""
    parameters, trainable = count_parameters(loaded.model)
    evaluations = {int(entry["step"]): entry for entry in state.log_history if isfinite(entry.get("eval_loss", nan))}
    if not (best := evaluations.get(state.best_global_step or -1)):
        raise DoctuneError(
            f"no validation loss was a number by step {state.global_step}, where training ended; set learning_rate lower"
        )
    return {
        "steps": state.global_step,
        "train_rows": len(train),
        "valid_rows": len(valid),
        "truncated_rows": train.cut.either + valid.cut.either,
        "truncated_sources": train.cut.sources + valid.cut.sources,
        "truncated_answers": train.cut.answers + valid.cut.answers,
        "truncated_share": round(train.cut.share, 5),
        "answerless_rows": train.cut.answerless + valid.cut.answerless,
        "target_tokens_per_epoch": train.target_tokens(),
        "parameters": parameters,
        "trainable_parameters": trainable,
        "vocabulary": len(loaded.tokenizer),
        "precision": precision,
        "stopped_early": state.global_step < state.max_steps,
        "best_step": state.best_global_step,
        "valid_loss": round(best["eval_loss"], 5),
        "last_valid_loss": round(evaluations[max(evaluations)]["eval_loss"], 5),
        **({"valid_chrf": round(best["eval_chrf"], 2)} if params.choose_by == "chrf" else {}),
    }
