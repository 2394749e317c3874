"""transformers' Trainer with a sampler, a loss and an evaluation made for translation.

Three things differ, each for a measured reason: batches are buckets of like length (padding), the output layer runs at
label positions only (a vocabulary is most of a small model's work), and the validation loss is an average over tokens,
without label smoothing, so that it compares between batch sizes.
"""

import time
from typing import Any

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader
from transformers import Trainer

from doctune.training.data import BucketSampler, EncodedPairs, collate, cost
from doctune.training.loss import answer_logits
from doctune.training.meter import Meter


class TranslationTrainer(Trainer):
    """`batch_tokens` padded tokens a batch; everything else is the Trainer's own."""

    model: Any  # transformers declares unions of all that a Trainer may be given
    processing_class: Any
    train_dataset: Any
    eval_dataset: Any

    def __init__(self, *args: Any, batch_tokens: int, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.batch_tokens = batch_tokens
        self.meter = Meter(self.args.world_size)

    def get_train_dataloader(self) -> DataLoader[Any]:
        return self.accelerator.prepare(self._loader(self.train_dataset, shuffle=True))

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader[Any]:
        return self._loader(eval_dataset or self.eval_dataset, shuffle=False)

    def _loader(self, dataset: EncodedPairs, shuffle: bool) -> DataLoader[Any]:
        seq2seq = bool(self.model.config.is_encoder_decoder)
        costs = [cost(example, seq2seq) for example in dataset.examples]
        sampler = BucketSampler(costs, self.batch_tokens, self.args.seed, shuffle)
        pad_id = self.processing_class.pad_token_id
        return DataLoader(dataset, batch_sampler=sampler, collate_fn=lambda rows: collate(rows, pad_id))

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        if model.training:
            self.meter.count(inputs, bool(self.model.config.is_encoder_decoder), self.state.global_step)
        logits, targets = answer_logits(model, inputs)
        loss = F.cross_entropy(
            logits.float(), targets, label_smoothing=self.args.label_smoothing_factor if model.training else 0.0
        )
        return (loss, ()) if return_outputs else loss

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Mean negative log-likelihood a token (nats) over the validation rows."""
        began, was_training = time.perf_counter(), self.model.training
        self.model.eval()
        total, tokens = 0.0, 0
        with torch.no_grad():
            for batch in self.get_eval_dataloader(eval_dataset):
                batch = self._prepare_inputs(batch)
                with self.compute_loss_context_manager():
                    logits, targets = answer_logits(self.model, batch)
                total += F.cross_entropy(logits.float(), targets, reduction="sum").item()
                tokens += targets.numel()
        self.model.train(was_training)
        metrics = {f"{metric_key_prefix}_loss": total / max(tokens, 1)}
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        self.meter.pause(began)
        return metrics

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
