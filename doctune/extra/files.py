"""Files of somebody else's making, read with distrust: lines, JSON objects, a table's cells, each with its line number.

list(objects(Path("extra/pairs.jsonl")))        # [(1, {"en": "A Pod runs.", "zh": "Pod 在运行。"}), ...]
list(cells(Path("extra/wmt.tsv.gz")))           # [(1, ["doc1", "1", "A Pod runs.", "Pod 在运行。"]), ...]

gzip is known by its first bytes, whatever the name. What cannot be read is one line that names file and line.
"""

import gzip
import json
import zlib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from doctune.errors import DoctuneError, one_line

_GZIP = b"\x1f\x8b"


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines that are not blank, with their numbers and without their ends. Only a line feed ends a line."""
    try:
        with path.open("rb") as raw:
            packed = raw.read(len(_GZIP)) == _GZIP
            raw.seek(0)
            with gzip.open(raw) if packed else raw as file:
                for number, line in enumerate(file, 1):
                    try:
                        text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
                    except UnicodeDecodeError:
                        raise DoctuneError(f"{path}:{number} is not UTF-8; convert the file (iconv -t UTF-8)") from None
                    if text.strip():
                        yield number, text
    except FileNotFoundError:
        raise DoctuneError(
            f"{path} does not exist; put the file there, or correct extra.sources in params.yaml"
        ) from None
    except IsADirectoryError:
        raise DoctuneError(f"{path} is a folder; name one file of it in extra.sources") from None
    except (OSError, EOFError, zlib.error) as error:  # a gzip file that was cut off or damaged raises all three
        raise DoctuneError(f"{path} cannot be read ({one_line(error)}); fetch it again") from None


def objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """JSON objects with their line numbers, one a line; or the elements of one JSON array with their positions."""
    rows = lines(path)
    first = next(rows, None)
    if first is None:
        return
    rows = chain([first], rows)
    if first[1].lstrip().startswith("["):
        whole = _parse("\n".join(line for _, line in rows), f"{path}", "a JSON array, or a JSON object a line")
        values = ((number, f"{path}, element {number},", value) for number, value in enumerate(whole, 1))
    else:
        places = ((number, f"{path}:{number}", line) for number, line in rows)
        values = ((number, place, _parse(line, place, "a JSON object a line")) for number, place, line in places)
    for number, place, value in values:
        if not isinstance(value, dict):
            raise DoctuneError(f"{place} holds {type(value).__name__}, wanted a JSON object")
        yield number, value


def cells(path: Path) -> Iterator[tuple[int, list[str]]]:
    """A table's rows. A tab always parts two cells: quotes are text, as in the corpora of shared tasks."""
    return ((number, line.split("\t")) for number, line in lines(path))


def _parse(text: str, where: str, wanted: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: also a number of thousands of digits
        raise DoctuneError(f"{where} is not JSON ({one_line(error, 120)}); wanted {wanted}") from None
