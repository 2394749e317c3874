"""How much memory a run will take, told from the base's shape before a weight of it is read.

    shape = measure(with_method(skeleton(base), params), params)
    need = estimate(shape, params, half=True)
    need.total                     # bytes: weights, gradients, optimizer, activations, logits, other

With P weights, T of them learning and Q held in 4 bits, t padded tokens in the largest batch and V pieces in the vocabulary:

    weights      4 (P - Q) + 0.516 Q       float32; NF4 with scales quantised too (Dettmers et al. 2023); 1.6 more in 16 bits
                                           for each weight of a linear layer, whose copy autocast keeps for the backward pass
    gradients    4 T
    optimizer    8 T                       AdamW's two averages
    activations  t (A a + B b)             numbers a token that layers keep for the backward pass: A those of the base's linear
                                           layers, in and out, B those of the adapters' own; a and b bytes each
    logits       min(t/2 V, 2^27) l        an answer is about half of the tokens; l bytes a logit. All at once only where the
                                           loss cannot do with a part: one's own, or an adapter on the output layer
    other        0.15 GB

Of an encoder-decoder's tokens half pass through each side, so A and B are halved. With gradient checkpointing only the input of
each layer is kept, and all of the widest one.

It is what batches of one shape take. On a CPU memory grows over the first hundreds of updates, as pieces of many sizes are
kept: a 7 M base with 4096 tokens a batch took 0.43 GB after 10 updates (estimate 0.5), 1.1 GB after 300.

A QLoRA run shows more in its resident size by the size of the base's file, which stays mapped: such pages make way when memory
is wanted, so they are not counted.
"""

import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

from doctune.training.loss import AT_ONCE
from doctune.training.methods import count_parameters
from doctune.training.params import TrainParams

NF4_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)  # a scale of 8 bits to 64 weights, one of 32 bits to 256 scales


# Fitted to the peak memory of 27 runs on Marian and Qwen2 shapes of 8 to 102 M parameters, every method, float32 and bfloat16,
# with and without checkpointing; 25 of them come out within 15 %, and all within 20 %.
INNER = {False: 2.9, True: 1.5}  # bytes a value of the base's layers keeps, in float32 and with autocast to 16 bits
LORA = {False: 8.1, True: 5.1}  # of LoRA's: its input in float32, dropped out, and the mask
DORA = 5.5  # more than LoRA's: both directions' results
IA3 = 6.0
LOGIT = 10.4  # the logits, their logarithms, and the gradient of these
HALF_COPY = 1.6
OTHER = 150_000_000  # what libraries take once they work


class Values(NamedTuple):
    """Numbers a token in and out of linear layers: those of the base, and those of adapters beside them."""

    inner: int
    beside: int


class Shape(NamedTuple):
    """A base with its adapters, in numbers of weights and of values a token."""

    weights: int
    trainable: int
    linear: int  # weights of linear layers, the output layer among them
    quantised: int
    values: Values  # of all layers, the output layer left out
    layers: int
    width: int
    widest: Values  # of the layer with most
    vocabulary: int
    sides: int  # 2: an encoder and a decoder
    plain_output: bool  # nothing lies on the output layer


class Need(NamedTuple):
    """Bytes, by what they are for."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    logits: int
    other: int

    @property
    def total(self) -> int:
        return sum(self)

    @property
    def text(self) -> str:
        parts = ", ".join(f"{name} {size / 1e9:.2f}" for name, size in self._asdict().items())
        return f"about {self.total / 1e9:.1f} GB ({parts})"


def keep_few_shapes() -> None:
    """Have oneDNN keep what it prepares for 32 shapes of products, not for 1024: call it before the first product.

    Batches come in hundreds of shapes, each keeps some MB, and hardly any is back soon: 300 updates of a 7 M base took
    3.0 GB and grew on, 1.8 GB with this, and were no slower for it.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "32")


def measure(model: Any, params: TrainParams) -> Shape:
    """The shape of a model with its method's adapters; a skeleton will do."""
    import torch

    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    output = set(base.get_output_embeddings().modules())
    linear = [(name, m) for name, m in base.named_modules() if isinstance(m, torch.nn.Linear)]
    inside = [m for name, m in linear if m not in output and not _of_adapter(name)]
    layers = _layers(base)
    parameters, trainable = count_parameters(model)
    return Shape(
        weights=parameters,
        trainable=trainable,
        linear=sum(m.weight.numel() for _, m in linear),
        quantised=sum(m.weight.numel() for m in inside) if params.method == "qlora" else 0,
        values=_values(base, output),
        layers=len(layers),
        width=base.config.hidden_size,
        widest=max((_values(layer, output) for layer in layers), default=Values(0, 0)),
        vocabulary=base.config.vocab_size,
        sides=2 if base.config.is_encoder_decoder else 1,
        plain_output=type(base.get_output_embeddings()) is torch.nn.Linear,
    )


def estimate(shape: Shape, params: TrainParams, half: bool) -> Need:
    """The bytes that training will take at its peak, beside what the process has before; `half`: it computes in 16 bits."""
    tokens = max(params.batch_tokens, params.max_length * shape.sides)  # a longer example is a batch by itself
    inner = INNER[half]
    beside = IA3 if params.method == "ia3" else LORA[half] + (DORA if params.method == "dora" else 0.0)
    casts = HALF_COPY * (shape.linear - shape.quantised) if half else 0
    logits = tokens / 2 * shape.vocabulary
    if shape.plain_output and not params.loss:
        logits = min(logits, AT_ONCE)
    kept, widest = shape.values, shape.widest
    if params.gradient_checkpointing:
        through = 4 * shape.layers * shape.width / shape.sides + inner * widest.inner + beside * widest.beside
    else:
        through = (inner * kept.inner + beside * kept.beside) / shape.sides
    return Need(
        weights=round(4 * (shape.weights - shape.quantised) + NF4_BYTES * shape.quantised + casts),
        gradients=4 * shape.trainable,
        optimizer=8 * shape.trainable,
        activations=round(tokens * through),
        logits=round(logits * LOGIT),
        other=OTHER,
    )


def available_memory(processes: int = 1) -> int:
    """Bytes left to each of some processes where training takes place: on a GPU of its own, if there is one."""
    import torch

    return int(torch.cuda.mem_get_info()[0]) if torch.cuda.is_available() else _free_memory() // processes


def _free_memory() -> int:
    """Bytes that this process may still take without pushing others out: the machine's, or fewer where a container has a limit."""
    import psutil

    return min(int(psutil.virtual_memory().available), *_left_in_containers(Path("/sys/fs/cgroup")))


def _left_in_containers(root: Path) -> list[int]:
    """What control groups leave, in the files of their second version and of their first; nothing where there is no limit.

    Pages of files that were read count as used there, though they make way when memory is wanted.
    """
    left = [sys.maxsize]
    for limit, used, cache in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),
    ):
        try:
            allowed, taken = (root / limit).read_text().strip(), int((root / used).read_text())
            lines = (root / limit).with_name("memory.stat").read_text().splitlines()
        except (OSError, ValueError):
            continue  # the other version, or no control groups at all
        cached = sum(int(line.split()[1]) for line in lines if line.split()[0] == cache)
        if allowed != "max":
            left.append(max(0, int(allowed) - taken + cached))
    return left


def _values(module: Any, output: set[Any]) -> Values:
    """Numbers that go into and come out of linear layers a token, and those of adapters."""
    import torch

    inner = beside = 0
    for name, part in module.named_modules():
        if hasattr(part, "ia3_l"):
            beside += sum(scale.numel() for scale in part.ia3_l.parameters())
        if isinstance(part, torch.nn.Linear) and part not in output:
            size = part.in_features + part.out_features
            inner, beside = (inner, beside + size) if _of_adapter(name) else (inner + size, beside)
    return Values(inner, beside)


def _of_adapter(name: str) -> bool:
    return "lora_" in name


def _layers(module: Any) -> list[Any]:
    """The repeated blocks of a model: what its outermost lists of modules with linear layers hold."""
    import torch

    found: list[Any] = []
    for child in module.children():
        if isinstance(child, torch.nn.ModuleList):
            found += [block for block in child if any(isinstance(m, torch.nn.Linear) for m in block.modules())]
        else:
            found += _layers(child)
    return found
