"""The page parser and the aligner on mutated real pages: no crash, no page over a second, memory bounded.

    python -m bench.fuzz --repository ../shared/k8s-website.git --inputs 10000      # ends with one JSON line

Each input is a real Chinese page with its English one, one of them cut, shuffled, spliced with another page or sown with the tokens
that parsers trip over. It must parse, be the same bytes when its blocks are joined, and be aligned. Seeded: input n is
the same in every run. A failure names its number and the page, and the exit code is 1.
"""

import argparse
import json
import multiprocessing
import random
import resource
import sys
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from bench.align import read_texts
from doctune.alignment.corpus import start_worker
from doctune.alignment.page import align_page
from doctune.alignment.params import AlignParams
from doctune.machine import cores
from doctune.markdown import Document
from doctune.section import load_section

MOST_SECONDS = 1.0
TOKENS = (
    *(
        "<!--",
        "-->",
        "<!---->",
        "<!--\n",
        "\n-->\n",
        "```",
        "~~~~",
        "`",
        "``",
        "{{<",
        ">}}",
        "{{% note %}}",
        "{{< /note >}}",
    ),
    *(
        "---\n",
        "***",
        "[",
        "](",
        ")",
        "|",
        "||\n|---|\n",
        "\n\n",
        "\r\n",
        "\t",
        "    ",
        "- ",
        "1. ",
        "> ",
        "# ",
        "{#a}",
        "<td>",
    ),
    *(
        "</td>",
        "<table>",
        "<pre>",
        "</pre>",
        "&nbsp;",
        "\\",
        "\u200b",
        "\ufeff",
        "\0",
        "\u2028",
        "甲",
        "。",
        "⟦1⟧",
        "<" * 500,
    ),
    *(
        "[" * 500,
        "`" * 500,
        "> " * 200,
        "- " * 200,
        "*" * 300,
        "|" * 400,
        "{{< a " * 100,
        "<!-- " * 100,
        "a" * 5000,
        "甲" * 5000,
    ),
)
Mutation = Callable[[random.Random, str, str], str]


def _cut(chance: random.Random, text: str, other: str) -> str:
    a, b = sorted((chance.randrange(len(text) + 1), chance.randrange(len(text) + 1)))
    return chance.choice((text[:a], text[a:], text[:a] + text[b:], text[a:b]))


def _sow(chance: random.Random, text: str, other: str) -> str:
    for _ in range(chance.randint(1, 12)):
        at = chance.randrange(len(text) + 1)
        text = text[:at] + chance.choice(TOKENS) + text[at + chance.choice((0, 0, 1, 3)) :]
    return text


def _lines(chance: random.Random, text: str, other: str) -> str:
    lines = text.split("\n")
    a, b = sorted((chance.randrange(len(lines)), chance.randrange(len(lines))))
    part = lines[a:b]
    chance.shuffle(part)
    kept = chance.choice((part, part * 2, [" " * chance.randint(1, 6) + line for line in part], part[::2]))
    return "\n".join([*lines[:a], *kept, *lines[b:]])


def _splice(chance: random.Random, text: str, other: str) -> str:
    return text[: chance.randrange(len(text) + 1)] + other[chance.randrange(len(other) + 1) :]


MUTATIONS: tuple[Mutation, ...] = (_cut, _sow, _sow, _lines, _splice)


def _mutated(number: int, pages: list[tuple[str, str, str]]) -> tuple[str, str, str]:
    chance = random.Random(number)
    path, chinese, english = chance.choice(pages)
    for _ in range(chance.randint(1, 3)):
        other = chance.choice(pages)
        mutate = chance.choice(MUTATIONS)
        if chance.random() < 0.8:
            chinese = mutate(chance, chinese, other[1])
        else:
            english = mutate(chance, english, other[2])
    return path, chinese, english


_PAGES: list[tuple[str, str, str]] = []
_PARAMS: list[AlignParams] = []


def _start(pages: list[tuple[str, str, str]], params: AlignParams) -> None:
    start_worker()
    _PAGES[:], _PARAMS[:] = pages, [params]


def _one(number: int) -> tuple[int, float, str]:
    """The input's number, CPU seconds, and what went wrong ("" when nothing)."""
    path, chinese, english = _mutated(number, _PAGES)
    began = time.process_time()
    try:
        page = Document(chinese)
        if "".join(part for part, _ in page.pieces(page.blocks())) != page.source:
            return number, 0.0, f"{path}: the blocks are not the page"
        align_page(path, chinese, english, _PARAMS[0])
    except Exception:  # whatever it is, it is what this looks for
        return number, 0.0, f"{path}: {traceback.format_exc()}"
    return number, time.process_time() - began, ""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repository", type=Path, default=Path("../shared/k8s-website.git"))
    parser.add_argument("--snapshot", default="snapshot-2025-10-19")
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    texts = read_texts(options.repository, options.snapshot)
    pages = [(path, texts["zh"][path], texts["en"][path]) for path in sorted(texts["zh"].keys() & texts["en"].keys())]
    spawn = multiprocessing.get_context("spawn")
    params = load_section(AlignParams, "align")
    failures: list[str] = []
    slowest: tuple[float, int] = (0.0, -1)
    with ProcessPoolExecutor(cores(), spawn, _start, (pages, params)) as pool:
        numbers = range(options.first, options.first + options.inputs)
        for done, (number, seconds, problem) in enumerate(pool.map(_one, numbers, chunksize=20), 1):
            slowest = max(slowest, (seconds, number))
            if problem or seconds > MOST_SECONDS:
                failures.append(f"input {number}: {problem or f'{seconds:.2f} s'}")
                print(failures[-1], file=sys.stderr, flush=True)
            if done % 1000 == 0:
                print(
                    f"{done} inputs, {len(failures)} failures, slowest {slowest[0]:.2f} s", file=sys.stderr, flush=True
                )
    result: dict[str, Any] = {
        "inputs": options.inputs,
        "failures": len(failures),
        "slowest_s": round(slowest[0], 3),
        "slowest_input": slowest[1],
        "peak_worker_mb": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024),
    }
    print(json.dumps(result))
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
