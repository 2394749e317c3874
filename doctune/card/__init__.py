"""The data card: what the corpus is, where it is from, what was left out, how it is split.

    facts = describe(pages, pairs, splits, reports)         # all numbers, as in reports/card/card.json
    facts["lengths"]["en"]                                  # {"mean": 96.1, "p05": 7, "p50": 62, "p95": 301, "most": 1190}
    write(Path("reports/card"), facts)                      # README.md, card.json, pictures, tables for `dvc plots`

facts.py      numbers out of pages, pairs, splits and the reports of crawl, align and split
markdown.py   the card as Markdown, in the manner of the Hugging Face Hub
plots.py      pictures, and the tables that `dvc plots` draws

It reads reports as they are, so that a count which a stage adds is in the card without a change here.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from doctune.card.facts import Reports, describe
from doctune.files import whole_dir, write_json, write_text

__all__ = ["Reports", "describe", "write"]


def write(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write the card of `facts` into `folder`, whole or not at all; the same facts give the same bytes."""
    from doctune.card.markdown import card_markdown
    from doctune.card.plots import draw

    with whole_dir(folder) as out:
        write_json(out / "card.json", facts)
        write_text(out / "README.md", card_markdown(facts))
        draw(out, facts)
