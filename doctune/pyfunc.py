"""How MLflow loads what doctune registered; the registry puts a copy of this package beside the weights.

    model = mlflow.pyfunc.load_model("models:/doctune@challenger")
    model.predict(["Pods are the smallest unit."])     # ["Pod 是最小的单元。"]
    model.predict(["taint"], {"task": "term"})         # ["污点"], of a model that learnt to look up terms

The folder of weights says which engine runs them: model/ (and base/ under an adapter) PyTorch, onnx/ ONNX Runtime.
A base's own code (see `doctune.trust`) is run only where the caller of mlflow.pyfunc.load_model says so himself, with
model_config={"remote_code": True}. PyTorch decodes greedily unless "decoding" there says otherwise (the `translate`
section's knobs); ONNX decodes as it was exported to.
"""

from pathlib import Path
from typing import Any, Protocol

from doctune.errors import DoctuneError
from doctune.prompts import TRANSLATE

MODEL, BASE, ONNX = "model", "base", "onnx"
MODEL_CONFIG: dict[str, Any] = {
    "remote_code": False,
    "decoding": {},
}  # what a registered model is opened with; MLflow lets its caller override it


class Engine(Protocol):
    """Anything that translates, or does another task of `doctune.prompts`."""

    def translate(self, texts: list[str], *, task: str) -> list[str]: ...


class TranslationModel:
    """What `mlflow.pyfunc.load_model` wraps."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> list[str]:
        """Chinese, in a list, for English in any shape that MLflow takes: a list, a DataFrame's column, a dict."""
        return self.engine.translate(texts_of(model_input), task=(params or {}).get("task", TRANSLATE))


def texts_of(model_input: Any) -> list[str]:
    """The texts in a str, list, dict of one key, pandas Series or DataFrame of one column (a cell may hold a list)."""
    if isinstance(model_input, dict):
        if len(model_input) != 1:
            raise DoctuneError(
                f'wanted one key of texts, such as {{"text": [...]}}, got the keys {sorted(map(str, model_input))}'
            )
        model_input = next(iter(model_input.values()))
    if hasattr(model_input, "iloc"):  # pandas, not imported here: its import takes longer than a short translation
        if model_input.ndim == 2 and model_input.shape[1] != 1:
            raise DoctuneError(
                f"wanted one column of texts, got {list(map(str, model_input.columns))}; select the one to translate"
            )
        model_input = (model_input.iloc[:, 0] if model_input.ndim == 2 else model_input).tolist()
    elif hasattr(model_input, "tolist"):
        model_input = model_input.tolist()
    if isinstance(model_input, str):
        return [model_input]
    texts: list[str] = []
    for item in model_input:
        texts.extend(item if isinstance(item, list) else [item])
    wrong = next((item for item in texts if not isinstance(item, str)), None)
    if wrong is not None:
        raise DoctuneError(f"wanted texts, got {wrong!r} ({type(wrong).__name__})")
    return texts


def load_engine(weights: Path, remote_code: bool = False, decoding: dict[str, Any] | None = None) -> Engine:
    """The engine of a folder of weights: {onnx/} or {model/[, base/]}."""
    if (weights / ONNX).is_dir():
        from doctune.onnx import load

        return load(weights / ONNX)
    if not (weights / MODEL).is_dir():
        raise DoctuneError(f"wanted {MODEL}/ or {ONNX}/ in {weights}, got {sorted(p.name for p in weights.iterdir())}")
    from doctune.section import validate
    from doctune.translation import DEFAULTS, TranslateParams, load_translator

    base = weights / BASE if (weights / BASE).is_dir() else None
    params = validate(TranslateParams, decoding, "decoding:") if decoding else DEFAULTS
    return load_translator(weights / MODEL, base, params, remote_code)


def _load_pyfunc(data_path: str, model_config: dict[str, Any] | None = None) -> TranslationModel:
    """MLflow's entry point (flavour python_function, loader_module doctune.pyfunc)."""
    config = MODEL_CONFIG | (model_config or {})
    return TranslationModel(load_engine(Path(data_path), config["remote_code"] is True, config["decoding"]))
