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

from doctune.errors import DoctuneError, one_line
from doctune.models import Loaded
from doctune.prompts import write_recipe

NOISY = (None, "optimum", "transformers", "torch.onnx")  # None: the root, which the quantiser writes to
SEQ2SEQ_TASK, CAUSAL_TASK = "text2text-generation-with-past", "text-generation-with-past"


def export_onnx(loaded: Loaded, out: Path) -> None:
    """Write the float32 graphs of a whole model (merge an adapter first) into the folder `out`.

    The graphs are left as traced: Optimum's clean-up would make a tied output layer a Transpose of the embedding, which
    is no weight in the eyes of quantisation, and would merge the decoders before they are quantised.
    """
    if hasattr(loaded.model, "peft_config"):
        raise DoctuneError("wanted a whole model to export, got an adapter; merge it first (doctune.models.merged)")
    with quiet():
        from optimum.exporters.onnx import onnx_export_from_model

        try:
            onnx_export_from_model(
                loaded.model.eval(),
                out,
                task=SEQ2SEQ_TASK if loaded.seq2seq else CAUSAL_TASK,
                do_validation=False,  # on random numbers; the parity check decodes real rows
                no_post_process=True,
            )
        except ValueError as error:  # an architecture, or a version of it, that Optimum does not know
            reason = one_line(error)
            raise DoctuneError(f"Optimum cannot export this model to ONNX: {reason}") from error
    loaded.tokenizer.save_pretrained(out)
    write_recipe(out, loaded.recipe)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep warnings of tracer, Optimum and quantiser out of the log: dozens, about doubts that parity answers."""
    loggers = [logging.getLogger(name) for name in NOISY]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
