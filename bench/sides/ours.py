"""doctune's side of bench/train.py: the run that the train stage makes (doctune.training.run.run_training).

python -m bench.sides.ours FOLDER full 60 [--judged]
"""

import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent))
from common import IGNORED, WARM_UP, Clock, Task, say  # the peers import it so, too

from doctune.models import Loaded
from doctune.prompts import Example, Recipe
from doctune.training import trainer as trainers
from doctune.training.data import Examples, round_up
from doctune.training.methods import with_method
from doctune.training.params import TrainParams, plain
from doctune.training.run import run_training
from doctune.training.tokens import in_memory


class Timed(Clock):
    """Ends a run that is only timed before it validates."""

    def __init__(self, steps: int, judged: bool) -> None:
        super().__init__()
        self.steps, self.judged = steps, judged

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        super().on_step_end(args, state, control, **kwargs)
        if state.global_step >= self.steps and not self.judged:
            raise StopIteration


class Ids:
    """What the trainer asks of a tokenizer."""

    def __init__(self, pad: int, size: int) -> None:
        self.pad_token_id, self.size = pad, size

    def __len__(self) -> int:
        return self.size

    def save_pretrained(self, folder: str) -> None:
        """Nothing to keep."""


def knobs(task: Task, method: str, steps: int, judged: bool) -> TrainParams:
    costs = [round_up(len(ids)) + (round_up(len(labels)) if task.seq2seq else 0) for ids, labels in task.train]
    return plain(
        method=method,
        lora=task.lora,
        learning_rate=3e-4 if judged else 5e-5,
        epochs=1.0,
        max_steps=steps + (0 if judged else WARM_UP),
        batch_tokens=round(task.batch * sum(costs) / len(costs)),  # as many examples an update, in the mean
        warmup_ratio=20 / steps if judged else 0.0,
        schedule="cosine" if judged else "linear",
        weight_decay=0.0,
        label_smoothing=0.0,
        max_length=512,
        eval_steps=10**6,
        precision=task.precision,
        seed=1,
    )


def main() -> None:
    from transformers import MarianMTModel, Qwen2ForCausalLM

    folder, method, steps = sys.argv[1:4]
    judged = "--judged" in sys.argv
    task = Task(folder, method)
    kind = MarianMTModel if task.seq2seq else Qwen2ForCausalLM
    params = knobs(task, method, int(steps), judged)
    model = with_method(kind.from_pretrained(task.folder / "model", dtype=torch.float32), params)
    clock = Timed(int(steps), judged)
    own = trainers.collate

    def collate(items: Any, pad_id: int) -> Any:
        for item in items:
            clock.tokens += len(item.input_ids) + (
                sum(label != IGNORED for label in item.labels) if task.seq2seq else 0
            )
        return own(items, pad_id)

    trainers.collate = collate
    data = [
        Examples(in_memory([Example(ids, labels, False, False) for ids, labels in pairs]))
        for pairs in (task.train, task.valid)
    ]
    recipe = Recipe(template="plain", placeholders=False, links={}, target_prefix="")
    with tempfile.TemporaryDirectory() as work, suppress(StopIteration):
        run_training(
            Loaded(model, Ids(task.pad, model.config.vocab_size), recipe), data[0], data[1], params, Path(work), [clock]
        )
    say(clock, model, task, judged)


if __name__ == "__main__":
    main()
