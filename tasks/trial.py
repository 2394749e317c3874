"""One trial of a sweep, in a process of its own: memory is given back whatever happens in it, and a kill is clean.

    python -m tasks.trial --params '{"method": "full", ...}' --base models/base --splits data/splits \\
        --work .doctune/checkpoints/3f2a... --evaluations 6

Not a stage: flows/sweep.py starts it and reads its lines; nothing but checkpoints in `work` is written.
"""

import json
from pathlib import Path

from doctune.errors import DoctuneError
from doctune.files import read_jsonl
from doctune.locks import hold
from doctune.section import validate
from doctune.training.params import TrainParams
from doctune.trust import remote_code_allowed
from tasks.stage import stage
from tasks.train import TOKENS


def main(params: str, base: Path, splits: Path, work: Path, evaluations: int) -> None:
    from doctune.sweeping.trial import train_trial

    try:
        values = json.loads(params)
    except json.JSONDecodeError as error:
        raise DoctuneError(f"--params: wanted the train section as JSON, got {params[:80]!r} ({error})") from None
    knobs = validate(TrainParams, values, "--params:")
    with hold(work / "lock", f"to train in {work}"):
        rows = [read_jsonl(splits / f"{name}.jsonl") for name in ("train", "valid")]
        facts = train_trial(base, rows[0], rows[1], knobs, work, evaluations, TOKENS, remote_code_allowed())
    print(f"trained for {facts['steps']} steps, validation loss {facts['valid_loss']}")


if __name__ == "__main__":
    stage(main)
