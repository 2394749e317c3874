"""Stage `adapt`: the base made familiar with the site's own pages before it is fine-tuned; without epochs, as it was fetched.

    python -m tasks.adapt --base models/fetched --pages data/pages.parquet --splits data/splits \\
        --out models/base --report reports/adapt

    models/fetched, pages, splits (what test and valid hold is not read)  ->  models/base    what all later stages take
                                                                              reports/adapt  adapt.json; curves.csv of a run

Like train it is watched in MLflow, a killed run goes on where it was (checkpoints lie in .doctune/adapting/), and with
`adapt.processes` above 1 it starts itself that many times, of which the first alone writes.
"""

import shutil
import sys
from pathlib import Path
from typing import Any

from doctune.adapting.params import AdaptParams
from doctune.errors import DoctuneError, warn
from doctune.files import whole_dir, write_json
from doctune.section import load_section
from tasks.stage import stage

CHECKPOINTS = Path(".doctune/adapting")
CODE = Path(__file__).parents[1] / "doctune"
MAKES_WEIGHTS = ("training", "adapting", "prompts", "models.py", "vocabulary.py")


def main(base: Path, pages: Path, splits: Path, out: Path, report: Path) -> None:
    params = load_section(AdaptParams, "adapt")
    if params.epochs:
        _adapt(base, pages, splits, out, report, params)
        return
    if not base.is_dir():
        raise DoctuneError(f"{base} does not exist; run the stage that writes it (doctune run, or dvc repro)")
    with whole_dir(out) as tmp:  # copied, not linked: DVC takes an out away from its other names
        shutil.copytree(base, tmp, copy_function=shutil.copyfile, dirs_exist_ok=True)
    with whole_dir(report) as tmp:
        write_json(tmp / "adapt.json", {"epochs": 0.0})
    print("the base stays as it was fetched (adapt.epochs: 0)")


def _adapt(base: Path, pages: Path, splits: Path, out: Path, report: Path, params: AdaptParams) -> None:
    from doctune.adapting.heldout import REASONS
    from doctune.adapting.run import adapt, refuse_seq2seq, save_adapted
    from doctune.adapting.texts import own_texts
    from doctune.files import hash_path, hash_text, read_jsonl
    from doctune.locks import hold
    from doctune.parquet import read_parquet
    from doctune.registry.runs import training_run
    from doctune.registry.store import connect
    from doctune.splitting import SplitParams
    from doctune.training.checkpoints import prune_runs
    from doctune.training.processes import end_on_request, launch, launched, leave, rank
    from doctune.training.watching import ProgressFile, write_curves
    from doctune.trust import remote_code_allowed
    from tasks.train import TOKENS, curves_to

    if params.processes > 1 and not launched():
        return launch(params.processes, ["-m", "tasks.adapt", *sys.argv[1:]], "adapt")
    if launched():
        end_on_request()
    trusted = remote_code_allowed()
    refuse_seq2seq(base, trusted)
    columns = ["lang", "path", "text"]
    rows: list[dict[str, Any]] = [row for name in ("test", "valid") for row in read_jsonl(splits / f"{name}.jsonl")]
    found = (dict(zip(columns, row, strict=True)) for row in read_parquet(pages, columns))
    texts = own_texts(found, rows, params, load_section(SplitParams, "split").near)
    key = hash_text(
        params.model_dump_json(),
        hash_path(base),
        hash_text(*texts.train, "\0", *texts.valid),
        hash_path(*(CODE / name for name in MAKES_WEIGHTS)),
    )
    work = CHECKPOINTS / key[:16]
    if rank():
        adapt(base, texts, params, work, [], TOKENS, trusted)
        return leave()
    read, left = texts.counts["pages"], texts.counts["passages"]
    print(
        f"{read['train']:,} pages to learn from, {read['valid']:,} to measure on; left out: {read['of_test_or_valid']:,} pages of "
        f"test and valid, {sum(left[reason] for reason in REASONS):,} passages elsewhere that these hold",
        flush=True,
    )
    knobs = {"adapt": params.model_dump()}
    with (
        hold(work / "lock", f"to adapt in {work}"),
        training_run(connect(), key, knobs, name=f"adapt-{key[:8]}") as run,
    ):
        adapted = adapt(base, texts, params, work, [ProgressFile("adapt"), curves_to(run)], TOKENS, trusted)
        save_adapted(adapted.loaded, base, out)
        facts = {
            "epochs": params.epochs,
            "adapt_key": key,
            "texts": texts.counts,
            **adapted.facts,
            "params": params.model_dump(),
        }
        with whole_dir(report) as tmp:
            write_curves(adapted.history, tmp / "curves.csv")
            write_json(tmp / "adapt.json", facts)
        prune_runs(CHECKPOINTS, work)
    perplexity = adapted.facts["valid_perplexity"]
    print(f"adapted in {facts['steps']} steps: perplexity {perplexity['before']} before, {perplexity['after']} after")
    if perplexity["after"] >= perplexity["before"]:
        warn("the base does not know the pages better than before; lower adapt.learning_rate, or set adapt.epochs to 0")
    leave()


if __name__ == "__main__":
    stage(main)
