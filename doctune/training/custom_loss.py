"""A loss of the user's own, by import path: `train.loss: losses.focal:focal`.

    # losses/focal.py
    import torch.nn.functional as F

    def focal(logits, targets):
        surprise = F.cross_entropy(logits, targets, reduction="none")
        return ((1 - (-surprise).exp()) ** 2 * surprise).mean()

It gets float32 logits (answer tokens, vocabulary) and the right token ids (answer tokens,), and returns a scalar: the mean
over these tokens of whatever is to be made small. Several batches of an update are weighted by their tokens. It is used in
training only: the validation loss stays nats a token, so that runs compare. Files of the project's folder `losses` are
what the train stage depends on; a loss that imports other files of its own makes changes to them go unnoticed.
"""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from doctune.errors import DoctuneError

Loss = Callable[[Any, Any], Any]


def load_loss(name: str, root: Path | None = None) -> Loss:
    """The function that `package.module:function` names, from files below `root` (the project: the working folder)."""
    module_name, _, function_name = name.partition(":")
    root = root or Path.cwd()
    file = root.joinpath(*module_name.split(".")).with_suffix(".py")
    if not file.is_file():
        raise DoctuneError(
            f"train.loss is {name!r}, but there is no {file.relative_to(root)}; write it, or correct the name"
        )
    if str(root) not in sys.path:  # so that a loss can import its neighbours
        sys.path.insert(0, str(root))
    spec = importlib.util.spec_from_file_location(module_name, file)
    if spec is None or spec.loader is None:
        raise DoctuneError(f"train.loss is {name!r}, but {file.relative_to(root)} is no Python module")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # a user's module may raise anything
        raise DoctuneError(
            f"train.loss is {name!r}, but {file.relative_to(root)} cannot be imported: {type(error).__name__}: {error}"
        ) from error
    function = getattr(module, function_name, None)
    if not callable(function):
        raise DoctuneError(f"train.loss is {name!r}, but {file.relative_to(root)} has no function {function_name}")
    return _checked(name, function)


def _checked(name: str, function: Loss) -> Loss:
    """`function`, refusing at each call what cannot be learnt from."""
    import torch

    def loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        try:
            value = function(logits, targets)
        except Exception as error:  # a user's function may raise anything
            raise DoctuneError(f"train.loss {name!r} failed: {type(error).__name__}: {error}") from error
        if not isinstance(value, torch.Tensor):
            raise DoctuneError(f"train.loss {name!r}: wanted a scalar tensor, got {type(value).__name__}")
        if value.dim():
            raise DoctuneError(f"train.loss {name!r}: wanted a scalar tensor, got one of shape {tuple(value.shape)}")
        if not value.requires_grad:
            raise DoctuneError(f"train.loss {name!r}: wanted a tensor that depends on the logits, got a constant")
        if not torch.isfinite(value):
            raise DoctuneError(f"train.loss {name!r}: wanted a finite number, got {value.item()}")
        return value

    return loss
