"""Muon for the hidden weight matrices of a model trained from scratch, AdamW for the rest, as one optimizer.

Muon (Jordan et al. 2024) orthogonalises the momentum of each matrix; with its step scaled to AdamW's RMS (Liu et al. 2025,
arXiv:2502.16982) both share a learning rate. Both are torch's own; this file only makes them one for the Trainer.
"""

from collections.abc import Callable
from typing import Any

import torch


class MuonWithAdamW(torch.optim.Optimizer):
    """Steps both optimizers; `param_groups` lists Muon's group first, so schedulers and checkpoints see one optimizer."""

    def __init__(self, model: Any, learning_rate: float, weight_decay: float):
        hidden, rest = split_parameters(model)
        self.parts = (
            torch.optim.Muon(hidden, lr=learning_rate, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(rest, lr=learning_rate, betas=(0.9, 0.98), weight_decay=weight_decay, fused=True),
        )
        super().__init__([*hidden, *rest], {"lr": learning_rate})
        self.param_groups = [group for part in self.parts for group in part.param_groups]

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]  # no closure is used here
        for part in self.parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self.param_groups = [group for part in self.parts for group in part.param_groups]


def split_parameters(model: Any) -> tuple[list[Any], list[Any]]:
    """(hidden matrices, everything else): embeddings, output layer, biases and norms are the rest."""
    hidden: list[Any] = []
    rest: list[Any] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            (
                hidden
                if parameter.ndim == 2 and "embed" not in name and "shared" not in name and "lm_head" not in name
                else rest
            ).append(parameter)
    return hidden, rest
