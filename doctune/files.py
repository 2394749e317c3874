"""Files written whole or not at all, JSON Lines, tables, and content hashes.

with whole_file(Path("pairs.jsonl")) as tmp:
    tmp.write_text("...")            # renamed to pairs.jsonl on success, removed on failure
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from doctune.errors import DoctuneError


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DoctuneError(
            f"could not write {path}: {error.strerror or error}; free some space, fix its permissions or give another path"
        ) from error


def _make_parent(path: Path) -> None:
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)


@contextmanager
def whole_file(path: Path, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it replaces `path`, on any failure it is removed.

    Not `durable` is for a memo whose reader checks what it reads: after a power failure the file may be damaged.
    """
    _make_parent(path)
    tmp = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with _writing(path):
            yield tmp
            if durable:
                with tmp.open("rb") as file:
                    os.fsync(file.fileno())
            tmp.replace(path)
    finally:
        tmp.unlink(missing_ok=True)


@contextmanager
def whole_dir(path: Path) -> Iterator[Path]:
    """Yield an empty temporary folder beside `path`; on success it replaces `path`, on any failure it is removed."""
    _make_parent(path)
    tmp = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    shutil.rmtree(tmp, ignore_errors=True)
    try:
        with _writing(path):
            tmp.mkdir()
            yield tmp
            if path.is_dir():
                shutil.rmtree(path)
            tmp.rename(path)
    finally:
        shutil.rmtree(tmp, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    with whole_file(path) as tmp:
        tmp.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def write_jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> int:
    """Write one JSON object a line; returns the number of rows."""
    count = 0
    with whole_file(path) as tmp, tmp.open("wb") as file:
        for row in rows:
            file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
            count += 1
    return count


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise DoctuneError(f"{path} does not exist; run the stage that writes it (doctune run, or dvc repro)") from None
    except (IsADirectoryError, NotADirectoryError, PermissionError) as error:
        raise DoctuneError(f"{path} cannot be read ({error.strerror}); name a file that can") from None


def read_json(path: Path) -> Any:
    try:
        with _reading(path):
            return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DoctuneError(f"{path} is not valid JSON ({error}); remove it and run its stage again") from None


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Read JSON Lines, one object a line; blank lines are allowed."""
    return list(iterate_jsonl(path))


def iterate_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """The same, an object at a time, for files that need not be in memory as a whole."""
    number = 0
    try:
        with _reading(path), path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    row = orjson.loads(line)
                    if not isinstance(row, dict):
                        raise DoctuneError(f"{path}:{number} holds {type(row).__name__}, wanted a JSON object a line")
                    yield row
    except orjson.JSONDecodeError as error:
        raise DoctuneError(f"{path}:{number} is not valid JSON Lines ({error})") from None


def hash_text(*parts: str) -> str:
    """SHA-256 (hex) of the parts, separated so that ("ab", "c") and ("a", "bc") differ."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode("utf-8") + b"\0")
    return digest.hexdigest()


def hash_share(*parts: str) -> float:
    """A place from 0 up to 1 that the parts alone decide, evenly spread."""
    return int(hash_text(*parts)[:16], 16) / 16**16


def hash_path(*paths: Path) -> str:
    """SHA-256 (hex) over names and bytes of files and folders (recursively, sorted; `__pycache__` left out)."""
    digest = hashlib.sha256()
    for root in paths:
        files = (
            [root]
            if root.is_file()
            else sorted(p for p in root.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
        )
        if not files:
            raise DoctuneError(f"{root} does not exist or is empty; run the stage that writes it")
        for path in files:
            digest.update(path.relative_to(root.parent).as_posix().encode("utf-8") + b"\0")
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
