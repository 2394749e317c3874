"""How well pages are aligned without comments; ends with one JSON line (`make bench-align` has it beside the corpus stages).

    python bench/align.py --repository ../shared/k8s-website.git --snapshot snapshot-2025-10-19

Structure without comments: pages whose English comments still match the English page give a gold that costs nothing. The
comments are taken away, both aligners get the same blocks, and their links are compared with the comments' pairs.
Peer: the package galechurch (Gale and Church 1993, in Rust), its length parameters and bead costs the best of a grid on
every second page (its own `calibrate` gives worse ones here); both are scored on the other pages, in one run, page by page in turn.
"""

import argparse
import importlib
import json
import statistics
import subprocess
import sys
import time
from collections import Counter, defaultdict
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from doctune.alignment.candidates import PageAlignment
from doctune.alignment.comments import align_comments
from doctune.alignment.lattice import chance
from doctune.alignment.structure import beads, comparable
from doctune.markdown import TEXT_KINDS, Block, Document
from doctune.text import flatten

PEER = "galechurch==0.1.0"
PEERS = Path(".doctune/bench/peers")  # an environment of their own
LEAST_COMMENTS, CURRENT = 5, 0.9  # a page is gold when it has so many comment pairs, so many of them in today's English
MIN_SCORE = 0.8

Links = set[tuple[int, int]]


class Gold(NamedTuple):
    path: str
    en: list[Block]
    zh: list[Block]
    links: Links
    same: dict[int, str]  # English block -> its text, by which two blocks count as one


def gold_pages(texts: dict[str, dict[str, str]], current: float) -> list[Gold]:
    """Pages of which at least `current` of the comments' English stands in the English page; links where it does so once."""
    found = []
    for path in sorted(texts["en"].keys() & texts["zh"].keys()):
        page = Document(texts["zh"][path])
        blocks = page.blocks()
        account = align_comments(page, blocks, MIN_SCORE)
        en, zh = comparable(Document(texts["en"][path]).blocks()), comparable(blocks)
        at: dict[str, list[int]] = defaultdict(list)
        for number, block in enumerate(en):
            at[flatten(block.text, "en")].append(number)
        uses = Counter(account.english.values())
        known = [
            (number, account.english[block.start]) for number, block in enumerate(zh) if block.start in account.english
        ]
        there = [(number, text) for number, text in known if text in at]
        if len(known) < LEAST_COMMENTS or len(there) < current * len(known):
            continue
        links = {(at[text][0], number) for number, text in there if len(at[text]) == uses[text] == 1}
        found.append(Gold(path, en, zh, links, {n: flatten(block.text, "en") for n, block in enumerate(en)}))
    return found


def judge(gold: Gold, links: Links) -> Counter[str]:
    """right, wrong (a link of a block whose partner is known to be another) and missed."""
    partner = {zh: en for en, zh in gold.links}
    taken = {en for en, _ in gold.links}
    right = {(en, zh) for en, zh in links if zh in partner and gold.same[en] == gold.same[partner[zh]]}
    about = {(en, zh) for en, zh in links if zh in partner or en in taken}
    return Counter(right=len(right), wrong=len(about - right), missed=len(partner.keys() - {zh for _, zh in right}))


def scores(total: Counter[str]) -> dict[str, float]:
    precision = total["right"] / (total["right"] + total["wrong"])
    recall = total["right"] / (total["right"] + total["missed"])
    f1 = 2 * precision * recall / (precision + recall)
    return {"precision": round(precision, 4), "recall": round(recall, 4), "f1": round(f1, 4)}


def doctune_links(gold: Gold) -> Links:
    found = beads(gold.en, gold.zh, PageAlignment())
    return {(i, j) for bead in found if chance(bead) >= MIN_SCORE for i in range(*bead.en) for j in range(*bead.zh)}


class Galechurch:
    """The peer, its lengths and costs the best of a grid on some pages; it gets the text blocks only, which suits it better."""

    MEANS, VARIANCES = (0.42, 0.5, 0.6), (7.0, 15.0, 30.0, 60.0)
    COSTS = (  # its own, and two that expect fewer merges: blocks are merged more seldom than sentences
        None,
        {(1, 0): 300.0, (0, 1): 300.0, (2, 1): 500.0, (1, 2): 500.0, (2, 2): 900.0},
        {(1, 0): 450.0, (0, 1): 450.0, (2, 1): 900.0, (1, 2): 900.0, (2, 2): 1500.0},
    )

    def __init__(self, pages: list[Gold]) -> None:
        if not PEERS.exists():
            command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(PEERS), PEER]
            subprocess.run(command, check=True)
        sys.path.insert(0, str(PEERS))
        self.module = importlib.import_module("galechurch")
        self.knobs = max(product(self.MEANS, self.VARIANCES, self.COSTS), key=lambda knobs: self._f1(pages, knobs))

    def _f1(self, pages: list[Gold], knobs: tuple[Any, ...]) -> float:
        self.knobs = knobs
        return scores(sum((judge(gold, self.links(gold)) for gold in pages), Counter()))["f1"]

    def links(self, gold: Gold) -> Links:
        sides = [[n for n, b in enumerate(blocks) if b.kind in TEXT_KINDS] for blocks in (gold.en, gold.zh)]
        mean, variance, costs = self.knobs
        aligned = self.module.align(
            [gold.en[n].text for n in sides[0]],
            [gold.zh[n].text for n in sides[1]],
            mean_xy=mean,
            variance_xy=variance,
            bead_costs=costs,
        )
        return {
            (i, j)
            for bead in aligned.beads
            for i in sides[0][bead.source_start : bead.source_end]
            for j in sides[1][bead.target_start : bead.target_end]
        }


def structure(texts: dict[str, dict[str, str]], current: float) -> dict[str, Any]:
    pages = gold_pages(texts, current)
    peer = Galechurch(pages[1::2])
    total: dict[str, Counter[str]] = {"doctune": Counter(), "galechurch": Counter()}
    seconds: dict[str, list[float]] = {"doctune": [], "galechurch": []}
    for gold in pages[::2]:
        for name, run in (("doctune", doctune_links), ("galechurch", peer.links)):
            began = time.perf_counter()
            links = run(gold)
            seconds[name].append(time.perf_counter() - began)
            total[name] += judge(gold, links)
    result: dict[str, Any] = {name: scores(counts) for name, counts in total.items()}
    result["error_ratio"] = round((1 - result["doctune"]["f1"]) / (1 - result["galechurch"]["f1"]), 3)
    return result | {
        "pages": len(pages[::2]),
        "links": sum(len(gold.links) for gold in pages[::2]),
        "median_ms": {name: round(1000 * statistics.median(times), 1) for name, times in seconds.items()},
        "galechurch_mean_and_variance": peer.knobs[:2],
    }


def read_texts(repository: Path, snapshot: str) -> dict[str, dict[str, str]]:
    from doctune.sources.git import read_git
    from doctune.sources.lock import resolve
    from doctune.sources.pages import decode

    dirs = {"en": "content/en/docs", "zh": "content/zh-cn/docs"}
    found = read_git(str(repository), resolve(str(repository), snapshot), snapshot, dirs)
    texts: dict[str, dict[str, str]] = {"en": {}, "zh": {}}
    for page in decode(found, str(repository)):
        texts[page.lang][page.path] = page.text
    return texts


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repository", type=Path, default=Path("../shared/k8s-website.git"))
    parser.add_argument("--snapshot", default="snapshot-2025-10-19")
    options = parser.parse_args()
    texts = read_texts(options.repository, options.snapshot)
    result = {
        "structure_current_pages": structure(texts, CURRENT),
        "structure_all_commented_pages": structure(texts, 0.0),
    }
    for name, value in result.items():
        print(name, json.dumps(value), file=sys.stderr)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
