"""Filled sheets, checked against the key.

    read_ratings([Path("anna.csv"), Path("wei.csv")], key)
    # [Rating(rater="anna", item=1, place="b", system="tuned", value=4), ...]

A rater is the name in the sheet, or the file's where that column is empty. Everything that cannot be right is an error
of one line with its file and row: another sheet, a changed text, a row or an item twice, a rating outside of the scale.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from doctune.errors import DoctuneError
from doctune.review import SCALE
from doctune.review.sheet import Key, columns, letter, safe_cell


@dataclass(frozen=True)
class Rating:
    rater: str
    item: int  # from 1, as on the sheet
    place: str  # the letter of the text there
    system: str
    value: int


def read_ratings(files: Sequence[Path], key: Key) -> list[Rating]:
    """All ratings of all files; a text that two systems wrote counts for both. Blank ones are left out."""
    found: list[Rating] = []
    seen: dict[tuple[str, int], str] = {}
    for file in files:
        before = len(found)
        for number, row in _rows(file, key):
            where = f"{file}, row {number}"
            item = _item(row, key, where)
            rater = row["rater"].strip().removeprefix("'") or file.stem
            if (rater, item) in seen:
                raise DoctuneError(
                    f"{where}: item {item} of {rater!r} is in {seen[rater, item]} already; keep one of them"
                )
            seen[rater, item] = where
            for place, asked in enumerate(key.items[item - 1].places):
                value = _value(row[f"rating_{letter(place)}"], where, letter(place))
                if value is not None:
                    found += [Rating(rater, item, letter(place), system, value) for system in asked.systems]
        if len(found) == before:
            raise DoctuneError(f"{file} holds no rating; fill its columns rating_a, rating_b, ... with {_scale()}")
    return found


def _rows(file: Path, key: Key) -> Iterator[tuple[int, dict[str, str]]]:
    """(row, cells by column); spreadsheets of some countries part cells by semicolons or tabs."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DoctuneError(f"{file} does not exist; name the CSV that a rater sent back") from None
    except (OSError, UnicodeDecodeError):
        raise DoctuneError(f"{file} is not UTF-8 text; save it as 'CSV UTF-8' and import it again") from None
    wanted = columns(key.most_places)
    header = text.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise DoctuneError(f"{file} is not valid CSV: {error}") from None
    if not rows or rows[0] != wanted:
        raise DoctuneError(
            f"{file}: wanted the columns {', '.join(wanted)}, got {', '.join(rows[0] if rows else [])[:200]}"
        )
    for number, cells in enumerate(rows[1:], 2):
        if any(cell.strip() for cell in cells):
            if len(cells) != len(wanted):
                raise DoctuneError(f"{file}, row {number}: wanted {len(wanted)} cells, got {len(cells)}")
            yield number, dict(zip(wanted, cells, strict=True))


def _item(row: dict[str, str], key: Key, where: str) -> int:
    if row["sheet"].strip() != key.sheet:
        raise DoctuneError(f"{where}: wanted sheet {key.sheet}, got {row['sheet']!r}; name the key.json of that sheet")
    text = row["item"].strip()
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= len(key.items)):
        raise DoctuneError(f"{where}: wanted an item from 1 to {len(key.items)}, got {row['item']!r}")
    item = int(text)
    asked = key.items[item - 1]
    texts = [place.text for place in asked.places] + [""] * (key.most_places - len(asked.places))
    shown = {"english": asked.english} | {f"text_{letter(place)}": text for place, text in enumerate(texts)}
    for column, text in shown.items():
        if row[column].strip() not in (text.strip(), safe_cell(text).strip()):
            raise DoctuneError(f"{where}: {column} was changed, wanted {text[:60]!r}, got {row[column][:60]!r}")
    for place in range(len(asked.places), key.most_places):
        if row[f"rating_{letter(place)}"].strip():
            raise DoctuneError(f"{where}: rating_{letter(place)} rates no text; leave it empty")
    return item


def _value(cell: str, where: str, name: str) -> int | None:
    text = cell.strip()
    if not text:
        return None
    if text not in {str(value) for value in SCALE}:
        raise DoctuneError(f"{where}: wanted {_scale()} or nothing in rating_{name}, got {cell!r}")
    return int(text)


def _scale() -> str:
    return f"{SCALE[0]} to {SCALE[-1]}"
