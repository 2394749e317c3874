"""Which base an adapter was trained on: written beside it, and held against the base that it is put on.

    models/tuned/base.json      {"folder": "models/base", "weights": "9f2c..."}

An adapter on other weights of the same shape opens without a word and answers nonsense, so a pin is a hash of the weights.
"""

from pathlib import Path

from doctune.errors import DoctuneError
from doctune.files import hash_path, read_json, write_json
from doctune.section import Section, validate

PIN_FILE = "base.json"


class Pin(Section):
    folder: str
    weights: str


def weights_hash(base: Path) -> str:
    """SHA-256 over a model's shape and weights; its tokenizer, recipe and card may change beside an adapter."""
    return hash_path(base / "config.json", *sorted(base.glob("*.safetensors")))


def write_pin(adapter: Path, base: Path) -> None:
    write_json(adapter / PIN_FILE, Pin(folder=base.as_posix(), weights=weights_hash(base)).model_dump())


def check_pin(adapter: Path, base: Path) -> None:
    """Refuse a base other than the one that the adapter was trained on."""
    path = adapter / PIN_FILE
    if not path.is_file():
        raise DoctuneError(
            f"{path} does not exist, so nobody knows which base the adapter belongs on; make the folder with the train stage"
        )
    pin = validate(Pin, read_json(path), f"{path}:")
    if (got := weights_hash(base)) != pin.weights:
        raise DoctuneError(
            f"the adapter {adapter} was trained on {pin.folder} with weights {pin.weights[:12]}, but {base} has {got[:12]}; give its own base, or train it on this one"
        )
