"""Continued pretraining of a causal base: the pages' documents as rows of tokens, each token predicted from those before it.

    adapted = adapt(base, texts, params, work=Path(".doctune/adapting/3f2a..."), callbacks=[], tokens=Path(".doctune/tokens"))
    save_adapted(adapted.loaded, base, Path("models/base"))
    adapted.facts["valid_perplexity"]        # {"before": 14.2, "after": 6.1}

Documents are put one behind the other, each closed with the end token, and cut into rows of equal length, so that nothing
is padding. A row's tokens attend to all before them in it, those of the document before included: that is how causal models
are pretrained, and the end token tells them to forget. (Packing in fine-tuning is another thing: there attention stays
within an example.) The run itself, its checkpoints and its resuming are fine-tuning's (doctune.training.run).
"""

import math
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from doctune.adapting.params import AdaptParams
from doctune.adapting.texts import Texts
from doctune.errors import DoctuneError, one_line
from doctune.files import whole_dir
from doctune.models import Loaded, load_model
from doctune.training.checks import check_plan
from doctune.training.data import Examples
from doctune.training.loss import check_own_loss
from doctune.training.params import TrainParams, plain
from doctune.training.processes import first_alone, take_own_gpu
from doctune.training.run import Trained, run_training
from doctune.training.tokens import DocumentEncoder, in_rows, tokenised

WRITTEN_ANEW = ("*.safetensors", "*.safetensors.index.json", "config.json", "generation_config.json", "README.md")


def rows_of_tokens(tokenizer: Any, documents: Iterable[str], length: int, folder: Path) -> Examples:
    """Documents one behind the other, from tokens kept in `folder`, cut every `length` of them."""
    table = tokenised(DocumentEncoder(tokenizer), [{"text": document} for document in documents], folder)
    return Examples(in_rows(table, length))


def adapt(
    base: Path,
    texts: Texts,
    params: AdaptParams,
    work: Path,
    callbacks: list[Any],
    tokens: Path | None = None,
    remote_code: bool = False,
) -> Trained:
    """Train all weights of `base` on `texts.train`, keep those of the lowest loss on `texts.valid`.

    Tokens are kept in the folder `tokens`, which runs share, or else in `work`.
    """
    take_own_gpu()
    refuse_seq2seq(base, remote_code)
    check_plan(base, run_params(params), remote_code, section="adapt")
    loaded = load_model(base, remote_code=remote_code)
    if loaded.tokenizer.eos_token_id is None:
        raise DoctuneError("adapt wants an end token between documents, but the base's tokenizer names no eos_token")
    check_own_loss(loaded)
    folder = tokens or work / "tokens"
    train, valid = first_alone(
        lambda: [
            rows_of_tokens(loaded.tokenizer, part, params.max_length, folder) for part in (texts.train, texts.valid)
        ]
    )
    trained = run_training(
        loaded, train, valid, run_params(params), work, callbacks, measure_first=True, section="adapt"
    )
    losses = [(entry["step"], entry["eval_loss"]) for entry in trained.history if "eval_loss" in entry]
    before = next(loss for step, loss in losses if step == 0)
    after = min(loss for step, loss in losses if step > 0)
    perplexity = {"before": round(math.exp(before), 3), "after": round(math.exp(after), 3)}
    return trained._replace(facts={**trained.facts, "valid_loss": round(after, 5), "valid_perplexity": perplexity})


def refuse_seq2seq(base: Path, remote_code: bool = False) -> None:
    """Before a weight is read: an encoder-decoder does not continue texts."""
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(base, trust_remote_code=remote_code, local_files_only=True)
    except (OSError, ValueError) as error:
        raise DoctuneError(f"{base} cannot be opened as a model: {one_line(error)}") from error
    if config.is_encoder_decoder:
        raise DoctuneError(
            f"adapt.epochs wants a causal base, but {base} is an encoder-decoder ({config.model_type}), which does not continue "
            "texts; set adapt.epochs to 0, or take a causal base"
        )


def run_params(params: AdaptParams) -> TrainParams:
    """The same run as the train section would describe it: all weights, no smoothing, so that the loss is a perplexity's."""
    same = params.model_dump(exclude={"valid", "leave_out"})
    return plain(**same, schedule="cosine", label_smoothing=0.0)


def save_adapted(loaded: Loaded, base: Path, out: Path) -> None:
    """The base's folder with the new weights. Its card goes: it describes other weights, and reports/base.json names their origin."""
    with whole_dir(out) as tmp:
        shutil.copytree(
            base, tmp, ignore=shutil.ignore_patterns(*WRITTEN_ANEW), copy_function=shutil.copyfile, dirs_exist_ok=True
        )
        loaded.model.save_pretrained(tmp, safe_serialization=True)
