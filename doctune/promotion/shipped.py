"""What registered models make of texts, each model in a process of its own; nothing is translated twice.

    parts = {"smoke": [...], "test": [...]}
    translations(memo, folder, "9f2c...", parts, fresh=("smoke",))    # {"smoke": [...], "test": [...]}

Translations are kept under `.doctune/judged/MODEL-TEXTS.json`, named by the hash of the model, with its code and
decoding, and of the texts. Parts named in `fresh` are translated every time: they show that the model opens today.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from doctune.errors import DoctuneError
from doctune.files import hash_path, hash_text, read_json, write_json

JUDGED = Path(".doctune") / "judged"
WORKER = Path(__file__).parents[1] / "registry" / "worker.py"
HOURS = 6  # a model that takes longer for its test rows is not waited for


class DoesNotRun(DoctuneError):
    """A registered model did not open, or did not translate."""


def translations(
    memo: Path,
    folder: Path,
    digest: str,
    parts: Mapping[str, Sequence[str]],
    fresh: Collection[str] = (),
    decoding: Mapping[str, Any] | None = None,
) -> dict[str, list[str]]:
    """Each part's translations by the package in `folder`, whose weights' hash is `digest`; DoesNotRun where it fails.

    `decoding` is how a PyTorch package decodes, if not greedily. It and the package's own copy of doctune, by which it
    translates, are part of what translations are kept under.
    """
    digest = hash_text(digest, hash_path(folder / "code"), json.dumps(decoding, sort_keys=True))
    found = {name: kept for name, texts in parts.items() if (kept := _kept(memo, digest, texts)) is not None}
    wanted = {name: list(texts) for name, texts in parts.items() if name in fresh or name not in found}
    if wanted:
        for name, answers in _ask(folder, wanted, decoding).items():
            found[name] = answers
            if name not in fresh:
                keep(memo, digest, parts[name], answers)
    return {name: found[name] for name in parts}


def keep(memo: Path, digest: str, texts: Sequence[str], answers: Sequence[str]) -> None:
    """Note a model's translations of these texts."""
    write_json(_file(memo, digest, texts), list(answers))


def _kept(memo: Path, digest: str, texts: Sequence[str]) -> list[str] | None:
    file = _file(memo, digest, texts)
    if not file.is_file():
        return None
    try:
        answers = read_json(file)
    except DoctuneError:  # damaged: it is only a memo
        return None
    whole = isinstance(answers, list) and len(answers) == len(texts) and all(isinstance(a, str) for a in answers)
    return answers if whole else None


def _file(memo: Path, digest: str, texts: Sequence[str]) -> Path:
    return memo / f"{digest[:24]}-{hash_text(*texts)[:24]}.json"


def _ask(folder: Path, parts: Mapping[str, list[str]], decoding: Mapping[str, Any] | None) -> dict[str, list[str]]:
    question = {"model": str(folder.resolve()), "parts": parts, "config": {"decoding": decoding} if decoding else {}}
    try:
        return _answers(folder, parts, json.dumps(question))
    except OSError as error:  # no room for its questions, no process: it says nothing about the model
        raise DoctuneError(f"the model in {folder} could not be asked: {error}; make room and promote again") from None


def _answers(folder: Path, parts: Mapping[str, list[str]], question: str) -> dict[str, list[str]]:
    with tempfile.TemporaryDirectory(prefix="doctune-") as place:
        asked, answered = Path(place) / "asked.json", Path(place) / "answered.json"
        asked.write_text(question, encoding="utf-8")
        try:
            done = subprocess.run(
                [sys.executable, "-P", str(WORKER), str(asked), str(answered)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "TOKENIZERS_PARALLELISM": "false"},
                timeout=HOURS * 3600,
                check=False,
                process_group=0,  # Ctrl-C in a terminal reaches the promotion: it is no fault of the model
            )
        except subprocess.TimeoutExpired:
            raise DoesNotRun(f"the model in {folder} did not translate within {HOURS} hours") from None
        if done.returncode != 0:
            lines = done.stdout.decode("utf-8", "replace").strip().splitlines() or ["it said nothing"]
            code = f"signal {-done.returncode}" if done.returncode < 0 else f"exit code {done.returncode}"
            raise DoesNotRun(f"the model in {folder} does not run in a fresh process ({code}): {lines[-1][:300]}")
        answers = json.loads(answered.read_text(encoding="utf-8"))
    for name, texts in parts.items():
        got = answers.get(name)
        if not isinstance(got, list) or len(got) != len(texts) or not all(isinstance(text, str) for text in got):
            count = len(got) if isinstance(got, list) else type(got).__name__
            raise DoesNotRun(f"the model in {folder} made {count} of {len(texts)} texts, or something that is no text")
    return answers
