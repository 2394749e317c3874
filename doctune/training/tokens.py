"""Tokens of rows, made once and kept: a later run, or one that goes on, maps them from the file into memory.

    table = tokenised(PairEncoder(tokenizer, recipe, max_length=256), rows, Path(".doctune/tokens"))
    table[[3, 1]]                       # an Arrow table of two rows: input_ids, labels, answer_tokens, what was cut

    .doctune/tokens/3f2a....arrow       one file a list of rows, of the `datasets` library

The key is a hash over the rows, the tokenizer, the recipe and the code that encodes, so a stale file cannot be found.
Deleting the folder changes only time.
"""

import json
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

from doctune.errors import DoctuneError
from doctune.files import hash_path, hash_text, whole_file
from doctune.locks import hold
from doctune.machine import cores, die_with_parent
from doctune.prompts import IGNORED, TRANSLATE, Example, Recipe, encode_pair

CODE = ("prompts", "placeholders.py", "text.py", "training/tokens.py")
LIBRARIES = ("jinja2", "sentencepiece", "tokenizers", "transformers")
KEPT = 8  # files: train and valid of a few runs
CHUNK = 1000  # rows encoded and written at a time
POOLED = 50_000  # rows from which on several processes are sooner done; starting them takes five seconds
LINE_SECONDS = 5.0

Row = dict[str, Any]


class Encoder(Protocol):
    """What makes an example of a row. It travels to other processes, so it is picklable."""

    @property
    def tokenizer(self) -> Any: ...

    def key(self) -> str:
        """All that decides an example besides the row, the tokenizer and the code."""
        ...

    def __call__(self, row: Row) -> Example: ...


@dataclass(frozen=True)
class PairEncoder:
    """Rows with `en` and `zh`, and `start` where placeholders do not begin at number 1."""

    tokenizer: Any
    recipe: Recipe
    max_length: int

    def key(self) -> str:
        return f"{self.recipe.model_dump_json()} {self.max_length}"

    def __call__(self, row: Row) -> Example:
        return encode_pair(
            self.tokenizer,
            self.recipe,
            row["en"],
            row["zh"],
            self.max_length,
            row.get("start", 1),
            row.get("task", TRANSLATE),
        )


@dataclass(frozen=True)
class DocumentEncoder:
    """Rows with `text`, each closed with the end token; markers in it are text (see doctune.prompts.templates).

    Which tokens are labels is decided where documents are cut into rows (`in_rows`).
    """

    tokenizer: Any

    def key(self) -> str:
        return ""

    def __call__(self, row: Row) -> Example:
        # verbose=False: a model's limit is no limit of a document
        ids = self.tokenizer(row["text"], split_special_tokens=True, verbose=False)["input_ids"]
        end = int(self.tokenizer.eos_token_id)
        return Example(ids if ids and ids[-1] == end else [*ids, end], [], False, False)


def tokenised(encode: Encoder, rows: Sequence[Row], folder: Path, workers: int | None = None) -> Any:
    """A `datasets.Dataset` (in Arrow format) with an example a row, from `folder` where an earlier run left it there."""
    path = folder / f"{_key(encode, rows)[:32]}.arrow"
    # Processes of one training run begin together: one of them encodes, the others wait for its file.
    with hold(folder / "lock", f"to tokenise into {folder}", wait=3600, say=print):
        table = _open(path, len(rows))
        if table is None:
            for rest in folder.glob(".*.tmp"):  # of a process that was killed: nobody else writes here now
                rest.unlink()
            _write(path, encode, rows, workers or (cores() if len(rows) >= POOLED else 1))
            table = _open(path, len(rows))
            if table is None:
                raise DoctuneError(f"{path} cannot be read right after it was written; is the disk failing?")
        path.touch()
        _prune(folder, path)
    return table


def _key(encode: Encoder, rows: Sequence[Row]) -> str:
    package = Path(__file__).parents[1]
    with tempfile.TemporaryDirectory() as temporary:  # as it stands: it may differ from the folder it was opened from
        state = Path(temporary) / "tokenizer"
        encode.tokenizer.save_pretrained(state)
        tokenizer = hash_path(state)
    return hash_text(
        type(encode).__qualname__,
        encode.key(),
        tokenizer,
        hash_path(*(package / name for name in CODE)),
        sys.version,
        *(f"{name} {version(name)}" for name in LIBRARIES),
        *(json.dumps(row, sort_keys=True, ensure_ascii=False) for row in rows),
    )


def _open(path: Path, rows: int) -> Any:
    """The file, memory-mapped; None where there is none, or none that can be used."""
    if not path.is_file():
        return None
    import pyarrow as pa
    from datasets import Dataset

    try:
        table = Dataset.from_file(str(path))
        if table.data.schema.names == _schema().names and len(table) == rows:
            return table.with_format("arrow")
    except (pa.ArrowException, OSError, ValueError):
        pass
    print(f"{path} is damaged; its rows are tokenised again", flush=True)
    path.unlink()
    return None


def _write(path: Path, encode: Encoder, rows: Sequence[Row], workers: int) -> None:
    import pyarrow as pa

    chunks = [rows[first : first + CHUNK] for first in range(0, len(rows), CHUNK)]
    with (
        whole_file(path) as tmp,
        pa.OSFile(str(tmp), "wb") as sink,
        pa.ipc.new_stream(sink, _schema()) as writer,
        _encoded(encode, chunks, workers) as batches,
    ):
        for batch in _told(batches, len(rows)):
            writer.write_batch(batch)


def _told(batches: Iterable[Any], total: int) -> Iterator[Any]:
    done, last = 0, time.monotonic()
    for batch in batches:
        yield batch
        done += len(batch)
        if time.monotonic() - last >= LINE_SECONDS:
            print(f"tokenised {done:,}/{total:,} rows", flush=True)
            last = time.monotonic()


@contextmanager
def _encoded(encode: Encoder, chunks: list[Sequence[Row]], workers: int) -> Iterator[Iterable[Any]]:
    """The chunks' batches in order, made here or in `workers` processes."""
    if workers < 2 or len(chunks) < 2:
        yield (_batch(encode, chunk) for chunk in chunks)
        return
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    fresh = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
    try:
        with ProcessPoolExecutor(min(workers, len(chunks)), fresh, _begin, (encode,)) as pool:
            yield pool.map(_work, chunks)
    except BrokenProcessPool:
        raise DoctuneError(
            "a worker that tokenises was killed (was the machine out of memory?); run it again, or with fewer cores"
        ) from None


_ENCODER: list[Encoder] = []  # of a worker: sent once, not with every chunk


def _begin(encode: Encoder) -> None:
    die_with_parent()
    _ENCODER.append(encode)


def _work(rows: Sequence[Row]) -> Any:
    return _batch(_ENCODER[0], rows)


def _batch(encode: Encoder, rows: Sequence[Row]) -> Any:
    return _record([encode(row) for row in rows])


def in_memory(examples: Sequence[Example]) -> Any:
    """The same table of examples that are made already, kept nowhere."""
    import pyarrow as pa
    from datasets import Dataset

    return Dataset(pa.Table.from_batches([_record(examples)])).with_format("arrow")


def in_rows(table: Any, length: int) -> Any:
    """The documents of a table one behind the other, cut every `length` tokens, as a table of examples kept nowhere.

    All of a row's tokens are labels but the first, which nothing predicts; a last row of one token is left out.
    """
    import numpy as np
    import pyarrow as pa
    from datasets import Dataset

    stream = table.data.column("input_ids").combine_chunks().values
    count = len(stream) - (len(stream) % length == 1)
    starts = np.arange(0, count, length, dtype=np.int32)
    offsets = np.append(starts, np.int32(count))
    labels = stream.to_numpy()[:count].copy()
    labels[starts] = IGNORED
    lists = [
        pa.ListArray.from_arrays(pa.array(offsets), values) for values in (stream.slice(0, count), pa.array(labels))
    ]
    uncut = pa.array(np.zeros(len(starts), dtype=bool))
    columns = [*lists, pa.array(np.diff(offsets) - 1, pa.int32()), uncut, uncut]
    return Dataset(pa.Table.from_arrays(columns, schema=_schema())).with_format("arrow")


def _record(examples: Sequence[Example]) -> Any:
    import pyarrow as pa

    columns = {
        "input_ids": [example.input_ids for example in examples],
        "labels": [example.labels for example in examples],
        "answer_tokens": [sum(label != IGNORED for label in example.labels) for example in examples],
        "source_cut": [example.source_cut for example in examples],
        "answer_cut": [example.answer_cut for example in examples],
    }
    return pa.record_batch(columns, schema=_schema())


def _schema() -> Any:
    import pyarrow as pa

    tokens = pa.list_(pa.int32())
    return pa.schema(
        {
            "input_ids": tokens,
            "labels": tokens,
            "answer_tokens": pa.int32(),
            "source_cut": pa.bool_(),
            "answer_cut": pa.bool_(),
        }
    )


def _prune(folder: Path, keep: Path) -> None:
    """Remove all but the files used last; a run that has one open keeps it, for it is mapped."""
    files = sorted(folder.glob("*.arrow"), key=lambda file: file.stat().st_mtime, reverse=True)
    for old in [file for file in files if file != keep][KEPT - 1 :]:
        old.unlink()
