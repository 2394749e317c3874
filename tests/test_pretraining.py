"""What the base's training sets aside, and how it is written as the general text of `evaluate`."""

import json
import subprocess
import sys

from doctune.pretraining import general_rows, hold_out
from tests.project import ROOT


def corpus() -> list[dict[str, str]]:
    return [
        {
            "en": f"Boat {page}-{row} sails at dawn.",
            "zh": f"{page} 号船队的第 {row} 艘船黎明启航。",
            "source": "docs",
            "path": f"{page}.md",
        }
        for page in range(300)
        for row in range(3)
    ]


def test_whole_pages_are_set_aside_and_no_row_is_in_two_parts():
    parts = hold_out(corpus(), seed=17, fraction=0.1)
    pages = [{row["path"] for row in part} for part in (parts.train, parts.valid, parts.test)]
    assert all(len(found) > 10 for found in pages)
    assert sum(map(len, pages)) == 300 == len(set.union(*pages))
    rows = general_rows(parts.test)
    assert len({row["id"] for row in rows}) == len(rows) == len(parts.test)


def test_the_command_writes_the_held_out_rows_and_trains_nothing(tmp_path):
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in corpus()), encoding="utf-8")
    options = ["--corpus", tmp_path / "pairs.jsonl", "--held-out", tmp_path / "out.jsonl"]
    command = [sys.executable, "-m", "flows.pretrain", *map(str, options)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    written = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert written == general_rows(hold_out(corpus(), 17).test) and written
    assert f"{len(written)} rows" in done.stdout
