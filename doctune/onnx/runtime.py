"""Running an exported model on a CPU: Optimum's ONNX Runtime classes inside doctune's Translator.

    translator = load(Path("models/onnx"))
    translator.translate(["Pods are the smallest unit."])       # ["Pod 是最小的单元。"]

Markup, batches and limits are the Translator's, the same code as in PyTorch. Nothing is fetched, and no code of the
folder runs.
"""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from doctune.errors import DoctuneError, one_line
from doctune.files import read_json
from doctune.machine import cores
from doctune.prompts import TRANSLATE, read_recipe
from doctune.section import Section, validate
from doctune.translation import TranslateParams, Translator

SHIPPED_FILE = "shipped.json"
ENCODER, MERGED, CAUSAL = "encoder_model.onnx", "decoder_model_merged.onnx", "model.onnx"
DECODER, WITH_PAST = "decoder_model.onnx", "decoder_with_past_model.onnx"
_AGAIN = "restore it (dvc checkout) or run the export stage (dvc repro export)"
_ERRORS_ONLY = 3  # ONNX Runtime's log severity


class Shipped(Section):
    """The facts beside a shipped model: how it is to be decoded, and the SHA-256 of each other file of its folder."""

    precision: str
    decoding: TranslateParams
    files: dict[str, str]


class OnnxTranslator(Translator):
    """ONNX Runtime computes; what `generate` does around it in PyTorch is too little work for a second thread.

    Two threads of PyTorch's doubled the processor time of a whole translation.
    """

    def translate(
        self, texts: Sequence[str], progress: Callable[[int, int], None] | None = None, task: str = TRANSLATE
    ) -> list[str]:
        import torch

        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return super().translate(texts, progress, task)
        finally:
            torch.set_num_threads(threads)


def load(onnx: Path) -> Translator:
    """Open a folder that the export stage wrote; raises DoctuneError where it is not whole."""
    path = onnx / SHIPPED_FILE
    if not path.is_file():
        raise DoctuneError(f"{onnx} holds no exported model (it has no {SHIPPED_FILE}); {_AGAIN}")
    shipped = validate(Shipped, read_json(path), f"{path}:")
    for name, digest in shipped.files.items():
        file = onnx / name
        if Path(name).name != name or not file.is_file() or sha256(file) != digest:
            raise DoctuneError(f"{file} is missing or not the file that was exported; {_AGAIN}")
    return open_graphs(onnx, shipped.decoding)


def sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def open_graphs(folder: Path, params: TranslateParams) -> Translator:
    """A Translator around the graphs in `folder`, merged or not, in any precision."""
    from transformers import AutoTokenizer
    from transformers.utils import logging as transformers_logging

    names = [ENCODER, MERGED] if (folder / MERGED).is_file() else [ENCODER, DECODER, WITH_PAST]
    seq2seq = (folder / ENCODER).is_file()
    wanted = names if seq2seq else [CAUSAL]
    if missing := [name for name in wanted if not (folder / name).is_file()]:
        raise DoctuneError(f"{folder} has no {' and no '.join(missing)}, so it holds no ONNX model; {_AGAIN}")
    recipe = read_recipe(folder)
    transformers_logging.set_verbosity_error()
    from optimum.onnxruntime import ORTModelForCausalLM, ORTModelForSeq2SeqLM

    local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    on_cpu = {"provider": "CPUExecutionProvider", "session_options": _options()}
    try:
        if seq2seq:
            model = ORTModelForSeq2SeqLM.from_pretrained(folder, use_merged=MERGED in names, **on_cpu, **local)
        else:
            model = ORTModelForCausalLM.from_pretrained(folder, file_name=CAUSAL, **on_cpu, **local)
        tokenizer = AutoTokenizer.from_pretrained(folder, **local)
    except Exception as error:  # ONNX Runtime has a class for each cause; each means that the files make no model
        reason = one_line(error)
        raise DoctuneError(f"{folder} cannot be opened as an ONNX model: {reason}; {_AGAIN}") from error
    return OnnxTranslator(model, tokenizer, recipe, seq2seq, params)


def _options() -> Any:
    from onnxruntime import SessionOptions

    options = SessionOptions()
    options.intra_op_num_threads = cores()
    # Threads that spin while `generate` works take a core from it, or from whatever else the machine does.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = _ERRORS_ONLY
    return options
