"""The blind sheet: sampled rows, systems in another order in each, and the key that says which was which.

    key = make_key(test, {"base": [...], "tuned": [...]}, rows=60, seed=7)
    write_sheet(key, Path("review"))

    review/
      raters/sheet.csv    sheet, item, english, text_a, rating_a, text_b, rating_b, ..., comment, rater
      raters/form.html    the same in a browser, without a network; it gives the CSV back
      key.json            not for raters: which system wrote which text

Systems that wrote the same text share one place, so nobody judges it twice. A cell that a spreadsheet would take for a
formula begins with an apostrophe.
"""

import csv
import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup
from pydantic import Field

from doctune.errors import DoctuneError
from doctune.files import hash_text, whole_file, write_json, write_text
from doctune.report.page import policy, seen
from doctune.review import SCALE, SCALE_WORDS
from doctune.section import Section
from doctune.text import flatten, normalise

_HERE = Path(__file__).parent
_STYLE = _HERE.parent / "report" / "page.css"
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")
_MOST_SYSTEMS = 8


class Place(Section):
    """One text of an item, and the systems that wrote it."""

    text: str
    systems: list[str] = Field(min_length=1)


class Item(Section):
    id: str  # of the test row
    english: str
    places: list[Place] = Field(min_length=1)


class Key(Section):
    """What was asked and of whom; `sheet` is the hash of the rest, and stands in every row of a sheet."""

    sheet: str
    seed: int
    systems: list[str] = Field(min_length=1)
    items: list[Item] = Field(min_length=1)

    @property
    def most_places(self) -> int:
        return max(len(item.places) for item in self.items)


def make_key(test: Sequence[Mapping[str, Any]], outputs: Mapping[str, Sequence[str]], rows: int, seed: int) -> Key:
    """Draw `rows` test rows and shuffle each one's texts; the same for the same rows, outputs and seed."""
    if not 1 <= rows <= len(test):
        raise DoctuneError(f"wanted 1 to {len(test)} rows, as many as the test set has, got {rows}")
    if not 1 <= len(outputs) <= _MOST_SYSTEMS:
        raise DoctuneError(f"wanted 1 to {_MOST_SYSTEMS} systems, got {len(outputs)}")
    chosen = random.Random(f"{seed} rows").sample(range(len(test)), rows)
    items = []
    for row in chosen:
        by_text: dict[str, list[str]] = {}
        for system, texts in outputs.items():
            by_text.setdefault(" ".join(normalise(texts[row]).split()), []).append(system)
        places = [Place(text=text, systems=systems) for text, systems in by_text.items()]
        random.Random(f"{seed} {test[row]['id']}").shuffle(places)
        items.append(Item(id=test[row]["id"], english=flatten(test[row]["en"], "en"), places=places))
    return Key(sheet=_digest(seed, list(outputs), items), seed=seed, systems=list(outputs), items=items)


def write_sheet(key: Key, folder: Path) -> None:
    """Write sheet.csv and form.html into folder/raters, and then folder/key.json; never over the key of another sheet."""
    if (folder / "key.json").exists() and read_key(folder / "key.json").sheet != key.sheet:
        raise DoctuneError(
            f"{folder} has the key of another sheet, whose ratings could not be read without it; name another folder (-o)"
        )
    with whole_file(folder / "raters" / "sheet.csv") as tmp, tmp.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns(key.most_places))
        for number, item in enumerate(key.items, 1):
            texts = [place.text for place in item.places] + [""] * (key.most_places - len(item.places))
            cells = [cell for text in texts for cell in (safe_cell(text), "")]
            writer.writerow([key.sheet, number, safe_cell(item.english), *cells, "", ""])
    write_text(folder / "raters" / "form.html", form(key))
    write_json(folder / "key.json", key.model_dump())


def read_key(path: Path) -> Key:
    """The key as written; raises DoctuneError for one that was changed, or is no key."""
    from doctune.files import read_json
    from doctune.section import validate

    if not path.exists():
        raise DoctuneError(f"{path} does not exist; name the key.json that `doctune review export` wrote")
    key = validate(Key, read_json(path), f"{path}:")
    if _digest(key.seed, key.systems, key.items) != key.sheet:
        raise DoctuneError(f"{path} was changed since it was written; restore the key.json of this sheet")
    return key


def columns(places: int) -> list[str]:
    slots = [f"{what}_{letter(place)}" for place in range(places) for what in ("text", "rating")]
    return ["sheet", "item", "english", *slots, "comment", "rater"]


def letter(place: int) -> str:
    return "abcdefgh"[place]


def safe_cell(text: str) -> str:
    """Text that no spreadsheet runs: an apostrophe before what could begin a formula. It is one line already."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def form(key: Key) -> str:
    """The sheet as one HTML page, which knows no system's name."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["seen"] = seen
    rows = [(number, item.english, [place.text for place in item.places]) for number, item in enumerate(key.items, 1)]
    data = {
        "sheet": key.sheet,
        "columns": columns(key.most_places),
        "places": key.most_places,
        "rows": [
            {"item": number, "english": safe_cell(english), "texts": [safe_cell(text) for text in texts]}
            for number, english, texts in rows
        ],
    }
    style = _STYLE.read_text(encoding="utf-8")
    program = (_HERE / "form.js").read_text(encoding="utf-8")
    # inside a script element only "<" could end it, and JSON may write it as \u003c
    script = f"const SHEET = {json.dumps(data, ensure_ascii=True).replace('<', chr(92) + 'u003c')};\n{program}"
    return environment.get_template("form.html").render(
        policy=policy(style, script),
        style=Markup(style),
        script=Markup(script),
        rows=rows,
        scale=list(zip(SCALE, SCALE_WORDS, strict=True)),
        letters=[letter(place) for place in range(key.most_places)],
    )


def _digest(seed: int, systems: Sequence[str], items: Sequence[Item]) -> str:
    facts = json.dumps([seed, list(systems), [item.model_dump() for item in items]], ensure_ascii=False, sort_keys=True)
    return hash_text(facts)[:16]
