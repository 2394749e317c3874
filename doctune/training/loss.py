"""The loss of an answer: logits are computed where labels are, and nowhere else."""

from typing import Any

import torch

from doctune.prompts import IGNORED


def answer_logits(model: Any, batch: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (answer tokens, vocabulary) and their targets (answer tokens,), for positions that the loss looks at only.

    Works on encoder-decoder and causal models, with or without PEFT adapters (they live inside the base's layers).
    """
    model = getattr(model, "module", model)
    model = model.get_base_model() if hasattr(model, "get_base_model") else model
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
    logits = model.get_output_embeddings()(hidden[kept])
    bias = getattr(model, "final_logits_bias", None)
    return (logits if bias is None else logits + bias), labels[kept]
