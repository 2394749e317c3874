"""transformers' Trainer with a sampler, a loss and an evaluation made for translation.

Three things differ, each for a measured reason: batches are buckets of like length (padding), the output layer runs at
label positions only (a vocabulary is most of a small model's work), and the validation loss is an average over tokens,
without label smoothing, so that it compares between batch sizes.
"""

import contextlib
import time
from collections.abc import Callable
from typing import Any

import torch
from accelerate.data_loader import prepare_data_loader
from torch.utils.data import DataLoader
from transformers import Trainer, TrainingArguments

from doctune.prompts import IGNORED
from doctune.training.compiling import body, eager
from doctune.training.data import Batching, Examples, collate, make_sampler
from doctune.training.embeddings import lighten
from doctune.training.loss import answer_logits, answer_loss, plain
from doctune.training.meter import Meter
from doctune.training.processes import Share, as_forward
from doctune.training.quality import Quality


class Arguments(TrainingArguments):
    """The Trainer's own; accelerate calls the processor of several processes cpu:0, which torch.load does not know."""

    @property
    def device(self) -> torch.device:
        device = super().device
        return torch.device("cpu") if device.type == "cpu" else device


class TranslationTrainer(Trainer):
    """Batches as `batching` says; everything else is the Trainer's own."""

    model: Any  # transformers declares unions of all that a Trainer may be given
    processing_class: Any
    train_dataset: Any
    eval_dataset: Any

    def __init__(
        self,
        *args: Any,
        batching: Batching,
        custom_loss: Callable[[Any, Any], Any] | None = None,
        quality: Quality | None = None,
        **kwargs: Any,
    ):
        super().__init__(*args, **kwargs)
        self.batching, self.custom_loss, self.quality = batching, custom_loss, quality
        # compute_loss divides by the answer tokens of an update, whatever the model.
        self.model_accepts_loss_kwargs = True
        self.meter = Meter(self.args.world_size)
        if self.args.use_cpu:  # where memory traffic is what training waits for
            self._lighten()

    def _lighten(self) -> None:
        model = plain(self.model)
        if body(model)._compiled_call_impl is None:  # a compiler sees to it itself
            lighten(model, torch.bfloat16 if self.args.bf16 else None)
        if model.config.is_encoder_decoder:  # texts are short: plain products take half of flash attention's time
            model.set_attn_implementation("eager")

    def get_train_dataloader(self) -> DataLoader[Any]:
        loader = self._loader(self.train_dataset, shuffle=True)  # this process's own already
        return prepare_data_loader(loader, self.args.device, num_processes=1, process_index=0, put_on_device=True)

    def updates_per_epoch(self) -> int:
        return -(-len(self.get_train_dataloader()) // self.args.gradient_accumulation_steps)

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader[Any]:
        return self._loader(eval_dataset or self.eval_dataset, shuffle=False)

    def _loader(self, dataset: Examples, shuffle: bool) -> DataLoader[Any]:
        seq2seq = bool(self.model.config.is_encoder_decoder)
        sampler: Any = make_sampler(dataset, self.batching, seq2seq, self.args.seed, shuffle)
        rank, processes = self.args.process_index, self.args.world_size
        if shuffle:
            sampler = Share(sampler, processes * self.args.gradient_accumulation_steps, rank, processes)
        else:
            sampler = list(sampler)[rank::processes]
        pad_id = self.processing_class.pad_token_id
        return DataLoader(dataset, batch_sampler=sampler, collate_fn=lambda items: collate(items, pad_id))

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Mean over the answer tokens of an update: a batch counts by its tokens, whichever process has it."""
        if model.training:
            self.meter.count(inputs, bool(self.model.config.is_encoder_decoder), self.state.global_step)
        tokens = int((inputs["labels"] != IGNORED).sum())
        if self.custom_loss:
            logits, targets = as_forward(model, answer_logits, inputs)
            loss = self.custom_loss(logits.float(), targets) * tokens
        else:
            smoothing = self.args.label_smoothing_factor if model.training else 0.0
            loss = as_forward(model, answer_loss, inputs, smoothing, False)
        # Gradients are averaged between processes, hence their number.
        loss = loss / (max(tokens, 1) if num_items_in_batch is None else num_items_in_batch / self.args.world_size)
        return (loss, ()) if return_outputs else loss

    def autocast_smart_context_manager(self, cache_enabled: bool | None = True) -> Any:
        """The run's number format. accelerate's own lies around the model's forward pass, which `answer_logits` goes around."""
        dtype = torch.bfloat16 if self.args.bf16 else torch.float16 if self.args.fp16 else None
        if dtype is None:
            return contextlib.nullcontext()
        return torch.autocast(self.args.device.type, dtype=dtype, cache_enabled=cache_enabled)

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Mean negative log-likelihood a token (nats) over the validation rows, and chrF of a sample where it is asked for."""
        began, was_training = time.perf_counter(), self.model.training
        self.model.eval()
        with torch.no_grad(), eager(self.model):
            metrics = {f"{metric_key_prefix}_loss": self._valid_loss(eval_dataset)}
            if self.quality:
                metrics[f"{metric_key_prefix}_chrf"] = self._valid_chrf(self.quality)
        self.model.train(was_training)
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        self.meter.pause(began)
        return metrics

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        began = time.perf_counter()
        super()._save_checkpoint(*args, **kwargs)
        self.meter.pause(began)

    def _valid_loss(self, dataset: Any) -> float:
        total, tokens = 0.0, 0.0
        for batch in self.get_eval_dataloader(dataset):
            batch = self._prepare_inputs(batch)
            with self.compute_loss_context_manager():
                total += answer_loss(self.model, batch, mean=False).item()
            tokens += int((batch["labels"] != IGNORED).sum())
        total, tokens = self._summed([total, tokens])
        return total / max(tokens, 1.0)

    def _valid_chrf(self, quality: Quality) -> float:
        with self.compute_loss_context_manager():
            counts = quality.counts(self.args.process_index, self.args.world_size)
        return quality.score(self._summed(counts.tolist()))

    def _summed(self, values: list[float]) -> list[float]:
        """The sum of each value over all processes."""
        if self.args.world_size == 1:
            return values
        everyone = torch.tensor(values, dtype=torch.float64, device=self.args.device)
        summed: list[float] = self.accelerator.reduce(everyone, "sum").tolist()
        return summed

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Adds what the meter reads, and the perplexity: e to the validation loss, so a token of this model's tokenizer."""
        if "loss" in logs:
            logs |= self.meter.read(self.state.global_step, self.state.max_steps)
        if "eval_loss" in logs:
            logs["eval_perplexity"] = perplexity(logs["eval_loss"])
            logs |= self.meter.left(self.state.global_step, self.state.max_steps)
        super().log(logs, *args, **kwargs)


def perplexity(loss: float) -> float:
    return torch.tensor(loss, dtype=torch.float64).exp().item()  # too large: infinity, where math.exp would raise
