"""The loss of an answer, computed where labels are and nowhere else, without ever holding all logits.

    loss = answer_loss(model, batch, label_smoothing=0.1)         # nats an answer token, ready for backward()
    logits, targets = answer_logits(model, batch)                 # for a loss of one's own

A vocabulary is most of a small model's work. Two things keep it small: the output layer runs on answer positions only, and
the cross-entropy turns a strip of logits into their gradient while it lies in the processor's cache, so that neither
probabilities nor 32-bit logits are ever written to memory (as Liger Kernel does on GPUs, Hsu et al. 2024, arXiv:2410.10989).
On a 65,001-token vocabulary that takes three fifths of the time of `F.cross_entropy` on bfloat16 logits, two cores.
"""

from typing import Any

import torch

from doctune.errors import DoctuneError, one_line
from doctune.models import Loaded
from doctune.prompts import IGNORED
from doctune.training.embeddings import shared_gradient

SAME = 1e-3  # of the logits' spread: what two ways to them may differ by, rounding
_STRIP = 8  # rows of logits that stay in the cache while they become a gradient
AT_ONCE = 1 << 27  # logits held together


def answer_loss(model: Any, batch: dict[str, Any], label_smoothing: float = 0.0, mean: bool = True) -> torch.Tensor:
    """Cross-entropy of the answer tokens in nats, their mean or sum; with smoothing as `torch.nn.CrossEntropyLoss` has it."""
    model = plain(model)
    hidden, targets = _answers(model, batch)
    head = model.get_output_embeddings()
    if type(head) is not torch.nn.Linear:  # an adapter on it, or weights in 4 bits: its forward knows what to do
        logits = _logits(model, hidden)
        return torch.nn.functional.cross_entropy(
            logits.float(), targets, label_smoothing=label_smoothing, reduction="mean" if mean else "sum"
        )
    dtype = torch.get_autocast_dtype(hidden.device.type) if torch.is_autocast_enabled(hidden.device.type) else None
    total: torch.Tensor = _CrossEntropy.apply(
        hidden.to(dtype or head.weight.dtype), head.weight, _bias(model, head), targets, label_smoothing
    )
    return total / len(targets) if mean else total


def answer_logits(model: Any, batch: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (answer tokens, vocabulary) and their targets (answer tokens,), for positions that the loss looks at only.

    Works on encoder-decoder and causal models, with or without PEFT adapters (they live inside the base's layers).
    """
    model = plain(model)
    hidden, targets = _answers(model, batch)
    return _logits(model, hidden), targets


def check_own_loss(loaded: Loaded) -> None:
    """Refuse a base whose own forward pass does more with hidden states than its output layer does (scales or caps logits)."""
    model, ids = loaded.model, torch.arange(5, 17, device=loaded.model.device).remainder(len(loaded.tokenizer))[None]
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids}
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            ours = answer_logits(model, batch)[0].float()
            asked = batch if model.config.is_encoder_decoder else {"input_ids": ids}
            own = model(**asked, use_cache=False).logits.float()[0]
    except (AttributeError, TypeError) as error:
        raise DoctuneError(
            f"{type(plain(model)).__name__} is built in another way than doctune trains ({one_line(error)}); take another base"
        ) from error
    finally:
        model.train(training)
    own = own if model.config.is_encoder_decoder else own[:-1]
    if (ours - own).abs().max() > SAME * own.std():
        raise DoctuneError(
            f"{type(plain(model)).__name__} changes its logits after the output layer, which doctune's loss does not; take another base"
        )


def plain(model: Any) -> Any:
    """The transformers model within wrappers: of several processes, of PEFT."""
    model = getattr(model, "module", model)
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _answers(model: Any, batch: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """The decoder's last hidden states (answer tokens, width) at the positions that predict labels, and these."""
    labels = batch["labels"]
    if model.config.is_encoder_decoder:
        hidden = model.model(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            decoder_input_ids=model.prepare_decoder_input_ids_from_labels(labels),
            use_cache=False,
        ).last_hidden_state
    else:
        reading = {name: batch[name] for name in ("input_ids", "attention_mask", "position_ids") if name in batch}
        hidden = model.model(**reading, use_cache=False).last_hidden_state
        hidden, labels = hidden[:, :-1], labels[:, 1:]
    kept = labels != IGNORED
    return hidden[kept], labels[kept]


def _logits(model: Any, hidden: torch.Tensor) -> torch.Tensor:
    head = model.get_output_embeddings()
    if tied := shared_gradient(head.weight):
        tied.readings()  # PyTorch's own gradients from here on
    logits: torch.Tensor = head(hidden)
    bias = getattr(model, "final_logits_bias", None)
    return logits if bias is None else logits + bias


def _bias(model: Any, head: torch.nn.Linear) -> torch.Tensor | None:
    """What is added to the logits: the output layer's bias, and Marian's constant one unless it is zero, as it mostly is."""
    constant = getattr(model, "final_logits_bias", None)
    constant = constant.flatten() if constant is not None and bool(constant.any()) else None
    if head.bias is None or constant is None:
        return constant if head.bias is None else head.bias
    return head.bias + constant


class _CrossEntropy(torch.autograd.Function):
    """Sum over rows of the cross-entropy of hidden @ weight.T + bias; gradients are made on the way forward."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        targets: torch.Tensor,
        smoothing: float,
    ) -> torch.Tensor:
        asked = ctx.needs_input_grad[0], ctx.needs_input_grad[1], bias is not None and ctx.needs_input_grad[2]
        learning = any(asked)
        matrix = weight.to(hidden.dtype)
        total = torch.zeros((), device=hidden.device)
        of_hidden = torch.empty_like(hidden) if asked[0] else None
        of_weight: torch.Tensor | None = None
        of_bias = torch.zeros_like(bias, dtype=torch.float32) if asked[2] and bias is not None else None
        rows = max(_STRIP, AT_ONCE // len(weight))
        for at in range(0, len(hidden), rows):
            some = hidden[at : at + rows]
            logits = some @ matrix.T
            if bias is not None:
                logits += bias
            total += _become_gradient(logits, targets[at : at + rows], smoothing, learning)
            if of_hidden is not None:
                torch.mm(logits, matrix, out=of_hidden[at : at + rows])
            if asked[1]:
                part = (logits.T @ some).to(weight.dtype)
                of_weight = part if of_weight is None else of_weight.add_(part)
            if of_bias is not None:
                of_bias += logits.sum(0, dtype=torch.float32)
        ctx.save_for_backward(of_hidden, of_weight, of_bias)
        ctx.tied = shared_gradient(weight) if asked[1] else None
        ctx.readings = ctx.tied.readings() if ctx.tied else 0
        return total

    @staticmethod
    def backward(ctx: Any, scale: torch.Tensor) -> Any:
        of_hidden, of_weight, of_bias = ctx.saved_tensors
        of_weight = None if of_weight is None else of_weight.mul_(scale)
        if ctx.readings:
            ctx.tied.begin(of_weight, ctx.readings)
            of_weight = None  # the embeddings hand it on
        return (
            None if of_hidden is None else of_hidden * scale,
            of_weight,
            None if of_bias is None else (of_bias * scale),
            None,
            None,
        )


def _become_gradient(logits: torch.Tensor, targets: torch.Tensor, smoothing: float, learning: bool) -> torch.Tensor:
    """The summed loss of rows of logits, which are overwritten with its gradient: softmax minus the smoothed target."""
    total = torch.zeros((), device=logits.device)
    vocabulary = logits.shape[1]
    strip = _STRIP if logits.device.type == "cpu" else len(logits)
    for at in range(0, len(logits), strip):
        target = targets[at : at + strip, None]
        log_p = torch.log_softmax(logits[at : at + strip], 1, dtype=torch.float32)
        total -= (1 - smoothing) * log_p.gather(1, target).sum()
        if smoothing:
            total -= smoothing / vocabulary * log_p.sum()
        if learning:
            gradient = log_p.exp_()
            if smoothing:
                gradient -= smoothing / vocabulary
            gradient.scatter_add_(1, target, gradient.new_full(target.shape, smoothing - 1))
            logits[at : at + strip] = gradient
    return total
