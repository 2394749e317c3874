"""What a sweep found, for a terminal, for Prefect (Markdown) and for MLflow (a table).

report = Report(study.results(), study.best(), study.importances(), starting_values(train, sweep))
print(report.text())
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from doctune.sweeping.study import Result
from doctune.tables import literal, markdown_table


@dataclass(frozen=True)
class Report:
    """The trials that ended, the best of them, and the values that the search set out from (None: not in the space)."""

    results: Sequence[Result]
    best: Result | None
    importances: Mapping[str, float]
    start: Mapping[str, Any] | None

    def text(self) -> str:
        """A line a trial, then the best, and how much each knob mattered."""
        header, rows = self._table()
        widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in [header, *rows]
        ]
        return "\n".join([*(line.rstrip() for line in lines), "", *self.findings()]) + "\n"

    def markdown(self) -> str:
        header, rows = self._table()
        table = markdown_table(header, [[literal(cell) for cell in row] for row in rows])
        return "\n\n".join([table, *(literal(line) for line in self.findings())]) + "\n"

    def findings(self) -> list[str]:
        counts = Counter(result.state for result in self.results)
        trials = f"{len(self.results)} trials ({', '.join(f'{count} {state}' for state, count in counts.items())})"
        if self.best is None:
            return [f"{trials}: none ran to its end, so there is no best"]
        lines = [f"best of {trials}: trial {self.best.number}, {outcome(self.best)}, with {values_of(self.best)}"]
        if self.start is None:
            lines.append("what params.yaml says lies outside of the space and was not tried")
        elif first := next((result for result in self.results if dict(result.values) == dict(self.start)), None):
            lines.append(f"as params.yaml was: trial {first.number}, {outcome(first)}")
        shares = ", ".join(f"{key} {share:.0%}" for key, share in self.importances.items())
        lines.append(f"of the differences: {shares}" if shares else "too few complete trials to say which knob matters")
        return lines

    def table(self) -> dict[str, list[Any]]:
        """The trials as columns."""
        columns: dict[str, list[Any]] = {
            name: [getattr(result, name) for result in self.results]
            for name in ("number", "state", "value", "evaluations", "seconds", "why")
        }
        for key in self._keys():
            columns[key] = [str(result.values.get(key)) for result in self.results]
        return columns

    def _keys(self) -> list[str]:
        return list(dict.fromkeys(key for result in self.results for key in result.values))

    def _table(self) -> tuple[list[str], list[list[str]]]:
        keys = self._keys()
        header = ["trial", "state", "valid loss", "seconds", *keys, ""]
        rows = [
            [
                str(result.number),
                result.state,
                "" if result.value is None else f"{result.value:.4f}",
                f"{result.seconds:.0f}",
                *(shown(result.values.get(key, "")) for key in keys),
                "best" if result == self.best else result.why,
            ]
            for result in self.results
        ]
        return header, rows


def outcome(result: Result) -> str:
    if result.value is None:
        return f"{result.state}: {result.why}"
    return f"validation loss {result.value:.4f}" + (
        "" if result.state == "complete" else f" when it was {result.state}"
    )


def values_of(result: Result) -> str:
    return ", ".join(f"{key} {shown(value)}" for key, value in result.values.items())


def shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
