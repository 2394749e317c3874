"""Make `base/`: a small English-Chinese model from general technical documentation, to fine-tune from.

    python -m flows.pretrain --corpus pairs.jsonl --out base --steps 6000

    pairs.jsonl -> hold out pages -> tokenizer -> train (resumes) -> score held-out pages -> base/ with its model card

    python -m flows.pretrain --corpus pairs.jsonl --held-out general.jsonl      # what evaluate.general may name

The corpus must not hold the documentation that the base will later be judged on.
"""

import os
import platform
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.settings import PREFECT_API_URL, temporary_settings

from doctune.files import write_jsonl, write_text
from doctune.locks import hold
from doctune.pretraining import (
    RECIPE,
    BaseShape,
    Parts,
    general_rows,
    hold_out,
    model_card,
    new_model,
    random_starts,
    read_corpus,
    save_base,
    train_tokenizer,
)
from doctune.training.params import TrainParams, plain
from flows.server import connect

SHAPE = BaseShape(
    vocabulary=8000, width=256, heads=4, feed_forward=1024, encoder_layers=4, decoder_layers=2, positions=512
)
SEED = 17


def settings(steps: int, learning_rate: float) -> TrainParams:
    """Steady at the full learning rate, then down to nothing over the last third, so that a run may be lengthened."""
    return plain(
        learning_rate=learning_rate,
        epochs=1,
        max_steps=steps,
        batch_tokens=4096,
        warmup_ratio=0.02,
        schedule="warmup_stable_decay",
        weight_decay=0.01,
        label_smoothing=0.1,
        max_length=160,
        eval_steps=250,
        precision="auto",
        seed=SEED,
    )


@task(cache_policy=NO_CACHE)
def prepare(corpus: Path, work: Path) -> Parts:
    parts = hold_out(read_corpus(corpus), SEED)
    if not (work / "tokenizer").is_dir():  # it is there whole or not at all
        train_tokenizer(parts.train, work / "tokenizer", SHAPE)
    return parts


@task(cache_policy=NO_CACHE)
def train(parts: Parts, work: Path, params: TrainParams) -> Any:
    import torch
    from transformers import MarianTokenizer

    from doctune.models import Loaded
    from doctune.training.data import EncodedPairs
    from doctune.training.muon import MuonWithAdamW
    from doctune.training.run import run_training

    tokenizer = MarianTokenizer.from_pretrained(work / "tokenizer")
    torch.manual_seed(SEED)
    model = new_model(SHAPE, tokenizer)
    starts = random_starts(parts.train, SEED)
    return run_training(
        Loaded(model, tokenizer, RECIPE),
        EncodedPairs(tokenizer, RECIPE, parts.train, params.max_length, work / "tokens", starts),
        EncodedPairs(tokenizer, RECIPE, parts.valid, params.max_length, work / "tokens"),
        params,
        work / "checkpoints",
        [],
        optimizer=MuonWithAdamW(model, params.learning_rate, params.weight_decay),
    )


@task(cache_policy=NO_CACHE)
def score(out: Path, rows: list[dict[str, Any]], hypotheses: Path) -> dict[str, float]:
    from doctune.scoring import metrics
    from doctune.text import flatten, normalise
    from doctune.translation import load_translator

    answers = load_translator(out).translate([row["en"] for row in rows])
    write_jsonl(hypotheses, ({"en": r["en"], "ref": r["zh"], "hyp": a} for r, a in zip(rows, answers, strict=True)))
    answers = [normalise(answer) for answer in answers]
    references = [flatten(row["zh"], "zh") for row in rows]
    return {
        "rows": len(rows),
        **{m.name: round(metrics.score(m, m.statistics(answers, references)), 1) for m in (metrics.BLEU, metrics.CHRF)},
        "length_ratio": round(sum(map(len, answers)) / sum(map(len, references)), 3),
    }


@flow(name="pretrain")
def pretrain(corpus: Path, out: Path, work: Path, steps: int, learning_rate: float) -> dict[str, float]:
    began = time.monotonic()
    parts = prepare(corpus, work)
    params = settings(steps, learning_rate)
    trained: Any = train(parts, work, params)
    save_base(trained.loaded, out)
    scores = score(out, parts.test, work / "heldout.jsonl")
    minutes = max((entry.get("seconds", 0.0) for entry in trained.history), default=0.0) / 60
    write_text(
        out / "README.md",
        model_card(
            SHAPE, params, parts, trained.facts, scores, minutes, f"{platform.machine()}, {os.cpu_count()} cores"
        ),
    )
    print(
        f"base model in {out}: {scores}, {minutes:.0f} minutes of training, {time.monotonic() - began:.0f} s in this sitting"
    )
    return scores


def main(
    corpus: Annotated[Path, typer.Option(help="JSON Lines with en, zh, source, path")],
    out: Annotated[Path, typer.Option(help="folder of the base")] = Path("base"),
    work: Annotated[Path, typer.Option(help="checkpoints and tokenizer; remove it to start anew")] = Path(
        ".doctune/pretrain"
    ),
    steps: int = 6000,
    learning_rate: float = 2e-3,
    held_out: Annotated[
        Path | None, typer.Option(help="only write the test rows that training sets aside there, for evaluate.general")
    ] = None,
) -> None:
    if held_out is not None:
        rows = general_rows(hold_out(read_corpus(corpus), SEED).test)
        write_jsonl(held_out, rows)
        print(f"{len(rows):,} rows that the base was not trained on: {held_out}")
        return
    address = connect()
    with hold(work / "lock", f"to pretrain in {work}"), temporary_settings(updates={PREFECT_API_URL: address}):
        pretrain(corpus, out, work, steps, learning_rate)


if __name__ == "__main__":
    typer.run(main)
