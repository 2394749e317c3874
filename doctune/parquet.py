"""Columns of a parquet table, as the stages read each other's.

read_parquet(Path("data/pages.parquet"), ["lang", "path", "text"])       # one tuple a row
"""

from pathlib import Path
from typing import Any

from doctune.errors import DoctuneError, one_line


def read_parquet(path: Path, columns: list[str]) -> list[tuple[Any, ...]]:
    """Rows as tuples in the order of `columns`; raises DoctuneError when the file is missing, broken or has other columns."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path, columns=columns, partitioning=None)
        return list(zip(*(table.column(name).to_pylist() for name in columns), strict=True))
    except FileNotFoundError:
        raise DoctuneError(f"{path} does not exist; run the stage that writes it (doctune run, or dvc repro)") from None
    except (pa.ArrowException, OSError, KeyError) as error:
        reason = one_line(error, 200)
        raise DoctuneError(
            f"wanted a table with columns {', '.join(columns)} in {path}, got: {reason}; run its stage again"
        ) from None
