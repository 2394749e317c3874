"""How fast doctune trains, beside transformers' Seq2SeqTrainer and TRL's SFTTrainer, on the same model and examples.

    make bench-train                                       # about an hour on two cores that multiply bf16; ends with one JSON line
    python -m bench.train --rounds 1 --updates 15 --without-loss       # a look
    python -m bench.train --keep .doctune/bench-train.jsonl            # killed and started again, it goes on where it was

Every side is a process of its own, in turns; medians over the rounds, ratios of medians. Of TRL's settings a short run each
finds the fastest, which takes part. Examples are real pairs (a split's train.jsonl), tokenised once by base/'s tokenizer; models
have the shapes of OPUS-MT and of Qwen2 at an eighth of its depth and width, with random weights. Peers run in an environment
of their own (bench/peers.txt), on as many threads, and in the number format that the processor is fastest in, as doctune does.
"""

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SIDES = Path(__file__).parent / "sides"
VOCABULARY, QWEN_VOCABULARY = 65_001, 151_936
LORA = {
    "r": 16,
    "alpha": 32,
    "dropout": 0.05,
    "targets": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
}
EXAMPLES, VALID = 6000, 200
LOSS_UPDATES = 300
TRL_SETTINGS = ("random", "grouped", "packed")
PROMPT = 48  # tokens before a source, as the ChatML template's system prompt takes


def examples(pairs: Path) -> tuple[list[list[list[int]]], int]:
    """Source and answer ids of rows drawn at random, and the padding id."""
    from doctune.files import read_jsonl
    from doctune.models import load_model
    from doctune.prompts import encode_pair

    rows = read_jsonl(pairs)
    random.Random(1).shuffle(rows)
    base = load_model(ROOT / "base")
    made = (encode_pair(base.tokenizer, base.recipe, r["en"], r["zh"], 256) for r in rows[: EXAMPLES + VALID])
    return [[list(e.input_ids), list(e.labels)] for e in made], int(base.tokenizer.pad_token_id)


def write_task(folder: Path, model: Any, pairs: list[list[list[int]]], pad: int, precision: str, seq2seq: bool) -> Path:
    folder.mkdir()
    model.save_pretrained(folder / "model")
    task = {
        "train": pairs[VALID:],
        "valid": pairs[:VALID],
        "pad": pad,
        "batch": 16,
        "precision": precision,
        "seq2seq": seq2seq,
        "lora": LORA,
    }
    (folder / "task.json").write_text(json.dumps(task), encoding="utf-8")
    return folder


def marian(folder: Path, pairs: list[list[list[int]]], pad: int, precision: str) -> Path:
    import torch
    from transformers import MarianConfig, MarianMTModel

    torch.manual_seed(0)
    config = MarianConfig(
        vocab_size=VOCABULARY,
        d_model=512,
        encoder_layers=6,
        decoder_layers=6,
        encoder_ffn_dim=2048,
        decoder_ffn_dim=2048,
        encoder_attention_heads=8,
        decoder_attention_heads=8,
        max_position_embeddings=512,
        pad_token_id=pad,
        eos_token_id=0,
        forced_eos_token_id=0,
        decoder_start_token_id=pad,
        scale_embedding=True,
        static_position_embeddings=True,
        activation_function="swish",
        dropout=0.1,
    )
    return write_task(folder, MarianMTModel(config), pairs, pad, precision, seq2seq=True)


def qwen(folder: Path, pairs: list[list[list[int]]], pad: int, precision: str) -> Path:
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=QWEN_VOCABULARY,
        hidden_size=512,
        intermediate_size=2816,
        num_hidden_layers=8,
        num_attention_heads=8,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        pad_token_id=pad,
    )
    prompt = list(range(100, 100 + PROMPT))
    rows = [[[*prompt, *source, *answer], [-100] * (PROMPT + len(source)) + answer] for source, answer in pairs]
    return write_task(folder, Qwen2ForCausalLM(config), rows, pad, precision, seq2seq=False)


def side(command: list[str]) -> dict[str, Any]:
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if found.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{found.stderr[-3000:]}")
    result: dict[str, Any] = json.loads(found.stdout.strip().splitlines()[-1])
    return result


class Kept:
    """What was measured, in a file of JSON lines where one is named: what this machine measured with this code is not measured
    again. Rounds of different days are told apart by nothing: each has all sides in turn."""

    def __init__(self, path: Path | None, **work: Any) -> None:
        from doctune.files import hash_path, read_jsonl

        about = Path("/proc/cpuinfo")
        lines = about.read_text(encoding="utf-8").splitlines() if about.exists() else [f": {platform.processor()}"]
        processor = next((line for line in lines if "model name" in line), lines[0])
        code = hash_path(ROOT / "doctune" / "training", SIDES, ROOT / "bench" / "peers.txt")
        machine = {"processor": processor.partition(": ")[2], "cores": os.cpu_count()}
        self.path, self.shared = path, {**machine, "code": code[:16], **work}
        self.records = read_jsonl(path) if path and path.exists() else []

    def measure(self, name: str, number: int, do: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        key = {**self.shared, "name": name, "round": number}
        found = next((record["result"] for record in self.records if record.items() >= key.items()), None)
        if found is None:
            found = do()
            if self.path:
                with self.path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({**key, "result": found}) + "\n")
        print(f"round {number}: {name} {json.dumps(found)}", file=sys.stderr, flush=True)
        return found


def matrix_rates(precision: str) -> dict[str, float]:
    """GFLOP/s of a square product in 32 bits and in the format trained in: the roof."""
    import torch

    rates = {}
    for name in sorted({"fp32", precision}):
        dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[name]
        one, two = (torch.randn(2048, 2048).to(dtype) for _ in range(2))
        seconds = []
        for _ in range(12):
            began = time.perf_counter()
            one @ two
            seconds.append(time.perf_counter() - began)
        rates[name] = 2 * 2048**3 / statistics.median(seconds[2:]) / 1e9
    return rates


def marian_flops(pairs: list[list[list[int]]]) -> float:
    """Floating-point operations a real token of source or answer takes in training: six a weight that it meets."""
    source, answer = (sum(map(len, side)) for side in zip(*pairs, strict=True))
    encoder, decoder = 6 * (4 * 512**2 + 2 * 512 * 2048), 6 * (8 * 512**2 + 2 * 512 * 2048) + VOCABULARY * 512
    return 6 * (encoder * source + decoder * answer) / (source + answer)


def qwen_flops(pairs: list[list[list[int]]]) -> float:
    """The same of Qwen2's shape with LoRA: four a weight of the base, which has no gradient of its own, as adapters hardly count."""
    source, answer = (sum(map(len, side)) for side in zip(*pairs, strict=True))
    tokens = PROMPT * len(pairs) + source + answer
    body = 8 * (2 * 512**2 + 2 * 512 * 128 + 3 * 512 * 2816)
    return 4 * (body + QWEN_VOCABULARY * 512 * answer / tokens)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=Path, default=ROOT / "data/splits/train.jsonl")
    parser.add_argument("--peers", type=Path, default=ROOT / ".venv-peers/bin/python")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--updates", type=int, default=60, help="measured updates of a side")
    parser.add_argument("--keep", type=Path, help="a file that keeps what was measured, to go on from")
    parser.add_argument("--without-loss", action="store_true", help="leave the longer run out")
    options = parser.parse_args()
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # every side trains on the processor
    from bench.sides.common import WARM_UP
    from doctune.training.precision import fastest

    precision = fastest()
    pairs, pad = examples(options.pairs)
    kept = Kept(options.keep, precision=precision, updates=options.updates)
    updates = str(options.updates + WARM_UP)
    few = str(max(3, options.updates // 12) + WARM_UP)  # updates of Qwen2's, each of which takes the peer half a minute
    with tempfile.TemporaryDirectory(prefix="doctune-bench-") as scratch:
        tasks = {
            "marian": marian(Path(scratch) / "marian", pairs, pad, precision),
            "qwen": qwen(Path(scratch) / "qwen", pairs, pad, precision),
        }
        ours, peers = [sys.executable, "-m", "bench.sides.ours"], str(options.peers)
        trl = [peers, str(SIDES / "sft.py"), str(tasks["qwen"])]
        settings = {
            mode: kept.measure(f"trl_{mode}", 0, partial(side, [*trl, mode, str(3 + WARM_UP)])) for mode in TRL_SETTINGS
        }
        best = max(settings, key=lambda mode: float(settings[mode]["tokens_per_second"]))
        sides = {
            "marian_doctune": [*ours, str(tasks["marian"]), "full", updates],
            "marian_plain": [peers, str(SIDES / "seq2seq.py"), str(tasks["marian"]), "plain", updates],
            "marian_grouped": [peers, str(SIDES / "seq2seq.py"), str(tasks["marian"]), "grouped", updates],
            "qwen_doctune": [*ours, str(tasks["qwen"]), "lora", few],
            "qwen_trl": [*trl, best, few],
        }
        seen: dict[str, list[dict[str, Any]]] = {name: [] for name in sides}
        rates: list[dict[str, float]] = []
        for number in range(1, options.rounds + 1):
            rates.append(kept.measure("matrix", number, partial(matrix_rates, precision)))
            for name, command in sides.items():
                seen[name].append(kept.measure(name, number, partial(side, command)))
        speed = {n: statistics.median(r["tokens_per_second"] for r in results) for n, results in seen.items()}
        roof = {name: statistics.median(rate[name] for rate in rates) for name in rates[0]}
        result: dict[str, Any] = {
            "tokens_per_second": {name: round(value, 1) for name, value in speed.items()},
            "peak_mb": {name: max(r["peak_mb"] for r in results) for name, results in seen.items()},
            "marian_to_plain": round(speed["marian_doctune"] / speed["marian_plain"], 2),
            "marian_to_grouped": round(speed["marian_doctune"] / speed["marian_grouped"], 2),
            "qwen_to_trl": round(speed["qwen_doctune"] / speed["qwen_trl"], 2),
            "trl_settings": {mode: round(found["tokens_per_second"], 1) for mode, found in settings.items()},
            "matrix_gflops": {name: round(rate) for name, rate in roof.items()},
            "precision": precision,
            "rounds": options.rounds,
            "marian_share_of_roof": round(speed["marian_doctune"] * marian_flops(pairs) / 1e9 / roof[precision], 3),
            "qwen_share_of_roof": round(speed["qwen_doctune"] * qwen_flops(pairs) / 1e9 / roof[precision], 3),
        }
        if not options.without_loss:
            judged = [str(LOSS_UPDATES), "--judged"]
            losses = {
                name: kept.measure(f"loss_{name}", 0, partial(side, [*sides[f"marian_{name}"][:-1], *judged]))
                for name in ("doctune", "grouped")
            }
            result["valid_loss"] = {name: round(found["valid_loss"], 4) for name, found in losses.items()}
            result["valid_loss_ratio"] = round(losses["doctune"]["valid_loss"] / losses["grouped"]["valid_loss"], 4)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
