"""The methods of fine-tuning on one base and one corpus, at the same budget of time: scores, memory, share of weights that learn.

    python -m bench.methods --splits data/splits --minutes 8          # ends with a table and one JSON line

Each method is a process of its own. Its minutes, evaluations among them, are counted from the first step, and the learning rate's
warm-up and cosine are laid over them, whatever number of updates they hold. Knobs are those of presets/k8s-small.yaml but for
the learning rate: adapters begin at nothing and take a higher one. The checkpoint with the least validation loss translates
the test rows.
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

ROOT = Path(__file__).parents[1]
LOW_RANK = {"learning_rate": 2e-3}
METHODS: dict[str, dict[str, Any]] = {
    "base": {},
    "full": {"method": "full"},
    "LoRA r 8": {"method": "lora", "r": 8, **LOW_RANK},
    "LoRA r 64": {"method": "lora", "r": 64, **LOW_RANK},
    "DoRA r 8": {"method": "dora", "r": 8, **LOW_RANK},
    "QLoRA r 8": {"method": "qlora", "r": 8, **LOW_RANK},
}
EVALUATIONS = 6
NEVER = 1_000_000  # updates: the clock ends a training, and asks for its evaluations


class ByTheClock(TrainerCallback):
    """Ends a training after `seconds`, with so many evaluations on the way, and lays warm-up and cosine over them."""

    def __init__(self, seconds: float, peak: float, warm_up: float) -> None:
        self.seconds, self.peak, self.warm_up = seconds, peak, warm_up
        self.began, self.evaluations = 0.0, 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.began = time.perf_counter()

    def share(self) -> float:
        return min(1.0, (time.perf_counter() - self.began) / self.seconds)

    def on_step_begin(self, args: Any, state: Any, control: Any, optimizer: Any = None, **kwargs: Any) -> None:
        past = (self.share() - self.warm_up) / (1 - self.warm_up)
        rate = 1 + past * (1 - self.warm_up) / self.warm_up if past < 0 else (1 + math.cos(math.pi * past)) / 2
        for group in optimizer.param_groups:
            group["lr"] = self.peak * rate

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        share = self.share()
        if int(share * EVALUATIONS) > self.evaluations:
            self.evaluations = int(share * EVALUATIONS)
            control.should_evaluate = control.should_save = True
        control.should_training_stop = share == 1


def one(name: str, splits: Path, base: Path, minutes: float) -> dict[str, Any]:
    """Train with a method for so many minutes, translate and score."""
    from doctune.files import read_jsonl
    from doctune.scoring.metrics import BLEU, CHRF, estimate
    from doctune.text import flatten, normalise
    from doctune.translation import load_translator

    test = read_jsonl(splits / "test.jsonl")
    result: dict[str, Any] = {"method": name}
    with tempfile.TemporaryDirectory(prefix="doctune-bench-") as scratch:
        folder = Path(scratch) / "model"
        if METHODS[name]:
            result |= train(METHODS[name], splits, base, minutes, folder)
        translator = load_translator(folder, base) if METHODS[name] else load_translator(base)
    outputs = [normalise(text) for text in translator.translate([row["en"] for row in test])]
    references = [flatten(row["zh"], "zh") for row in test]
    for metric in (BLEU, CHRF):
        found = estimate(metric, metric.statistics(outputs, references), samples=1000, seed=12345)
        result |= {metric.name: round(found.score, 2), f"{metric.name}_interval": [found.low, found.high]}
    return result


def train(knobs: dict[str, Any], splits: Path, base: Path, minutes: float, out: Path) -> dict[str, Any]:
    """Write the trained model, as its stage does, and return what training took."""
    from doctune.files import read_jsonl
    from doctune.models import save_model
    from doctune.params import effective
    from doctune.training.run import fine_tune
    from doctune.training.watching import measured

    params = effective("k8s-small", []).train
    lora = params.lora.model_copy(update={"r": knobs.get("r", 8), "alpha": 2 * knobs.get("r", 8)})
    rest = {key: value for key, value in knobs.items() if key != "r"}
    params = params.model_copy(update={"lora": lora, **rest})
    params = params.model_copy(update={"max_steps": NEVER, "eval_steps": NEVER, "patience": 0})
    rows, valid = (read_jsonl(splits / f"{part}.jsonl") for part in ("train", "valid"))
    clock = ByTheClock(60 * minutes, params.learning_rate, params.warmup_ratio)
    with tempfile.TemporaryDirectory(prefix="doctune-bench-") as scratch:
        trained = fine_tune(base, rows, valid, params, Path(scratch) / "run", [clock])
        seconds = time.perf_counter() - clock.began
    save_model(trained.loaded, out)
    took = measured(trained.history)
    return {
        "minutes": round(seconds / 60, 2),
        "updates": trained.facts["steps"],
        "learning_rate": params.learning_rate,
        "tokens_per_second": round(took["tokens_per_second"]),
        "peak_memory_mb": round(took["peak_memory_mb"]),
        "trainable_share": round(trained.facts["trainable_parameters"] / trained.facts["parameters"], 4),
        "valid_loss": trained.facts["valid_loss"],
    }


def table(results: list[dict[str, Any]]) -> str:
    from doctune.tables import markdown_table

    header = ("method", "BLEU", "chrF", "minutes", "updates", "tokens/s", "peak memory, MiB", "weights that learn")
    cells = [
        (
            found["method"],
            f"{found['bleu']:.1f} ({found['bleu_interval'][0]:.1f} to {found['bleu_interval'][1]:.1f})",
            f"{found['chrf']:.1f} ({found['chrf_interval'][0]:.1f} to {found['chrf_interval'][1]:.1f})",
            *(
                (
                    f"{found['minutes']:.1f}",
                    f"{found['updates']:,}",
                    f"{found['tokens_per_second']:,}",
                    f"{found['peak_memory_mb']:,}",
                    f"{found['trainable_share']:.1%}",
                )
                if "minutes" in found
                else ("", "", "", "", "")
            ),
        )
        for found in results
    ]
    return markdown_table(header, cells)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--splits", type=Path, default=ROOT / "data/splits")
    parser.add_argument("--base", type=Path, default=ROOT / "base")
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--methods", nargs="*", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--one", choices=list(METHODS), help="this method alone, in this process")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one(options.one, options.splits, options.base, options.minutes)))
        return
    results = []
    for name in options.methods:
        command = [sys.executable, "-m", "bench.methods", "--one", name, "--minutes", str(options.minutes)]
        command += ["--splits", str(options.splits.resolve()), "--base", str(options.base.resolve())]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            sys.exit(f"{name} failed, see above")
        results.append(json.loads(done.stdout.strip().splitlines()[-1]))
        print(json.dumps(results[-1]), file=sys.stderr, flush=True)
    print(table(results))
    print(json.dumps(results))


if __name__ == "__main__":
    main()
