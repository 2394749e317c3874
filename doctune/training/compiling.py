"""torch.compile for the body of a model (all but its output layer), in place, so that names in checkpoints stay.

    check_compiler("cpu")             # before the first step: is there a compiler at all?
    compile_body(model)
    with eager(model): ...            # as written: what runs seldom, or in many shapes, is not worth minutes of compiling

The output layer is left out because the loss calls it for itself, at answer positions only (`answer_logits`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from doctune.errors import DoctuneError


def check_compiler(device: str) -> None:
    """Refuse where inductor, which makes the code, has nothing to make it with."""
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler
    from torch.utils._triton import has_triton

    try:
        get_cpp_compiler()  # on a GPU, too: Triton's launchers are compiled
    except InvalidCxxCompiler:
        raise DoctuneError(
            "train.compile is true, but there is no C++ compiler here; install g++ (or name one in CXX), or set it to false"
        ) from None
    if device == "cuda" and not has_triton():
        raise DoctuneError(
            "train.compile is true, but Triton, which compiles for this GPU, is not here; install it, or set it to false"
        )


def compile_body(model: Any) -> None:
    """Compile once for batches of any shape (a batch of a single row is a shape of its own)."""
    import torch.fx.experimental._config as shapes

    shapes.use_duck_shape = False  # sources and answers that happen to be of a length are no shape of their own
    body(model).compile(dynamic=True)


@contextmanager
def eager(model: Any) -> Iterator[None]:
    """Run the body uncompiled for a while; it does nothing where nothing is compiled."""
    inner = body(model)
    compiled, inner._compiled_call_impl = inner._compiled_call_impl, None
    try:
        yield
    finally:
        inner._compiled_call_impl = compiled


def body(model: Any) -> Any:
    """The part of a model (or of what an adapter sits on) that turns tokens into hidden states."""
    return (model.get_base_model() if hasattr(model, "get_base_model") else model).model
