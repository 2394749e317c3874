"""Many adapters on one base: the base is held once, each adapter adds its few megabytes, and to change over costs nothing.

    adapters = load_adapters(Path("models/base"), {"k8s": Path("models/k8s"), "istio": Path("models/istio")})
    adapters.use("k8s").translate(["Pods are the smallest unit."])
    adapters.use("istio").translate(["A gateway runs at the edge of the mesh."])

Translators of several adapters may be held and used by turns: each puts its own adapter in force before it answers.
"""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from doctune.errors import DoctuneError, one_line
from doctune.files import read_json
from doctune.models import ADAPTER_CONFIG, check_adapter, is_adapter, load_model
from doctune.prompts import Recipe, read_recipe
from doctune.translation import DEFAULTS, TranslateParams, Translator


@dataclass(frozen=True)
class Adapters:
    """`recipes` says how each adapter is prompted, by its name; `slots` what PEFT calls it."""

    model: Any
    tokenizer: Any
    seq2seq: bool
    recipes: Mapping[str, Recipe]
    slots: Mapping[str, str]
    params: TranslateParams = DEFAULTS
    lock: Any = field(default_factory=threading.Lock)

    @property
    def names(self) -> list[str]:
        return list(self.recipes)

    def use(self, name: str) -> Translator:
        """The translator with this adapter; its answers are those of the adapter loaded alone."""
        if name not in self.recipes:
            raise DoctuneError(
                f"there is no adapter {name!r}; loaded are {', '.join(self.names)}: give one of these, or load it too"
            )
        model = _InForce(self.model, self.slots[name], self.lock)
        return Translator(model, self.tokenizer, self.recipes[name], self.seq2seq, self.params)


class _InForce:
    """The shared model as a translator sees it, with one adapter in force while it generates."""

    def __init__(self, model: Any, slot: str, lock: Any):
        self.model, self.slot, self.lock = model, slot, lock

    @property
    def device(self) -> Any:
        return self.model.device

    @property
    def config(self) -> Any:
        return self.model.config

    def generate(self, **inputs: Any) -> Any:
        with self.lock:
            self.model.set_adapter(self.slot, inference_mode=True)
            return self.model.generate(**inputs)


def load_adapters(
    base: Path, folders: Mapping[str, Path], params: TranslateParams = DEFAULTS, remote_code: bool = False
) -> Adapters:
    """Open a base and the adapters that were trained on it, on the GPU where there is one."""
    import torch
    from peft import PeftModel
    from safetensors import SafetensorError

    _check(base, folders)
    loaded = load_model(base, remote_code=remote_code)
    model = loaded.model
    slots = {
        name: f"adapter{number}" for number, name in enumerate(folders)
    }  # PEFT takes few names: no dots, no `keys`
    for name, folder in folders.items():
        try:
            if isinstance(model, PeftModel):
                model.load_adapter(str(folder), adapter_name=slots[name])
            else:
                model = PeftModel.from_pretrained(model, str(folder), adapter_name=slots[name])
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise DoctuneError(f"the adapter {folder} cannot be put on {base}: {one_line(error)}") from error
    model.eval().to("cuda" if torch.cuda.is_available() else "cpu")
    recipes = {name: read_recipe(folder) for name, folder in folders.items()}
    return Adapters(model, loaded.tokenizer, loaded.seq2seq, recipes, slots, params)


def _check(base: Path, folders: Mapping[str, Path]) -> None:
    if not folders:
        raise DoctuneError("wanted one adapter or more, got none; load the base alone with load_translator")
    kinds: dict[str, str] = {}
    for name, folder in folders.items():
        if not is_adapter(folder):
            raise DoctuneError(
                f"adapter {name}: {folder} has no {ADAPTER_CONFIG}, so it is no adapter; train one with method lora, dora, qlora or ia3"
            )
        check_adapter(folder, base)
        kinds[name] = str(read_json(folder / ADAPTER_CONFIG).get("peft_type"))
    if len(set(kinds.values())) > 1:
        listed = ", ".join(f"{name} is {kind}" for name, kind in kinds.items())
        raise DoctuneError(f"one base carries adapters of one kind at a time, got {listed}; load each kind by itself")
    _check_scales({name: read_json(folder / ADAPTER_CONFIG) for name, folder in folders.items()})


def _check_scales(configs: Mapping[str, Mapping[str, Any]]) -> None:
    """IA3 scales what a module takes in or what it gives out, and PEFT lets the first adapter on a module decide for all."""
    decided: dict[str, tuple[bool, str]] = {}
    for name, config in configs.items():
        inward = config.get("feedforward_modules") or []
        for target in config.get("target_modules") or []:
            first, other = decided.setdefault(target, (target in inward, name))
            if first != (target in inward):
                raise DoctuneError(
                    f"adapters {other} and {name} scale {target} on different sides (train.ia3.feedforward), which one base cannot "
                    "carry; load each by itself"
                )
