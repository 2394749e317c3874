"""PyTorch to ONNX in float32, through Optimum, with graphs that keep past keys and values.

    export_onnx(merged(load_model(Path("models/tuned"), Path("models/base"))), folder)

    folder/   encoder_model.onnx, decoder_model.onnx, decoder_with_past_model.onnx     an encoder-decoder model
              model.onnx                                                               a causal model
              config.json, generation_config.json, tokenizer files, doctune.json
"""

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

from doctune.errors import DoctuneError
from doctune.models import Loaded
from doctune.prompts import write_recipe

SEQ2SEQ_TASK, CAUSAL_TASK = "text2text-generation-with-past", "text-generation-with-past"


def export_onnx(loaded: Loaded, out: Path) -> None:
    """Write the float32 graphs of a whole model (merge an adapter first) into the folder `out`.

    The graphs are left as traced: Optimum's clean-up would hang a tied output layer on a Transpose of the embedding, where
    quantisation does not find it as a weight, and would merge the decoders before they are quantised.
    """
    if hasattr(loaded.model, "peft_config"):
        raise DoctuneError("wanted a whole model to export, got one with an adapter; merge it first (doctune.models.merged)")
    with quiet():
        from optimum.exporters.onnx import onnx_export_from_model

        try:
            onnx_export_from_model(
                loaded.model.eval(), out, task=SEQ2SEQ_TASK if loaded.seq2seq else CAUSAL_TASK,
                do_validation=False,  # on random numbers; the parity check decodes real rows
                no_post_process=True,
            )
        except ValueError as error:  # an architecture, or a version of it, that Optimum does not know
            raise DoctuneError(f"Optimum cannot export this model to ONNX: {' '.join(str(error).split())[:300]}") from error
    loaded.tokenizer.save_pretrained(out)
    write_recipe(out, loaded.recipe)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the tracer's and Optimum's warnings out of the log: each export has dozens, and parity is what they are about."""
    levels = {name: logging.getLogger(name).level for name in ("optimum", "transformers", "root", "torch.onnx")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in levels:
            logging.getLogger(name if name != "root" else None).setLevel(logging.ERROR)
        try:
            yield
        finally:
            for name, level in levels.items():
                logging.getLogger(name if name != "root" else None).setLevel(level)
