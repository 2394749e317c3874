"""What a flow run did, as plain data and as Markdown (the run's artifact in Prefect).

summary = summarise(Path.cwd(), run_id, rows, seconds)
summary.counts()                   # {"Cached": 9, "Completed": 1}
print(summary.markdown)
"""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

METRICS = Path("reports") / "metrics.json"
ALIGNMENT = Path("reports") / "align.json"
SPLITS = Path("reports") / "split.json"
TRAINING = Path("reports") / "train" / "train.json"
PARITY = Path("reports") / "export.json"
CARD, RENDERINGS = Path("reports/card/README.md"), Path("reports/renderings.md")


@dataclass(frozen=True)
class Row:
    """One stage of a run. `state`: Cached, Restored, Completed, Failed, Cancelled, or Not run."""

    name: str
    state: str
    seconds: float
    message: str


@dataclass(frozen=True)
class RunSummary:
    """What a run did; `metrics` is reports/metrics.json, None where there is none."""

    flow_run_id: str
    seconds: float
    stages: tuple[Row, ...]
    metrics: dict[str, Any] | None
    mlflow: str
    markdown: str

    @property
    def text(self) -> str:
        """The same for a terminal: one line a stage, then scores and where to look."""
        width = max((len(row.name) for row in self.stages), default=0)
        lines = [
            f"{row.name:<{width}}  {row.state:<9}  {row.seconds:6.1f} s  {row.message}".rstrip() for row in self.stages
        ]
        return "\n".join(lines) + "\n\n" + self.markdown.partition("\n\n")[2]

    def counts(self) -> dict[str, int]:
        return dict(Counter(row.state for row in self.stages))


def summarise(
    root: Path, flow_run_id: str, rows: Sequence[Row], seconds: float, version: str | None = None, promotion: str = ""
) -> RunSummary:
    """Put together stages, what was made of what, scores, what the gates said and the place to look further."""
    metrics = None
    parts = [_table(rows), ""]
    if (root / METRICS).exists() and all(row.state in ("Cached", "Restored", "Completed") for row in rows):
        from doctune.files import read_json
        from doctune.scoring.report import markdown_summary

        metrics = read_json(root / METRICS)
        parts += [*_made(root, version), "", markdown_summary(metrics), ""]
    if promotion:
        parts += ["## Promotion", "", promotion]
    mlflow = os.environ.get("MLFLOW_TRACKING_URI", "").strip() or f"sqlite:///{root / 'mlruns' / 'mlflow.db'}"
    look = mlflow if mlflow.startswith("http") else f"`make ui` ({mlflow})"
    parts.append(f"Experiments and models, in MLflow: {look}")
    return RunSummary(flow_run_id, seconds, tuple(rows), metrics, mlflow, "\n".join(parts) + "\n")


def _made(root: Path, version: str | None) -> list[str]:
    """Pairs, version and parity, a line each, as far as their reports exist."""
    from doctune.files import read_json

    lines = []
    if (root / ALIGNMENT).exists() and (root / SPLITS).exists():
        pairs, split = read_json(root / ALIGNMENT)["pairs"], read_json(root / SPLITS)["rows"]
        parts = ", ".join(f"{name} {count:,}" for name, count in split.items())
        lines.append(f"- {pairs['total']:,} pairs ({pairs['distinct']:,} distinct): {parts}")
    if (root / CARD).exists():
        lines.append(f"- the data card: {CARD}; English that has several renderings: {RENDERINGS}")
    if (root / TRAINING).exists() and (took := (training := read_json(root / TRAINING)).get("measured")):
        lines.append(
            f"- trained {training['trainable_parameters'] / 1e6:,.2f} of {training['parameters'] / 1e6:,.2f} M parameters for "
            f"{training['steps']:,} updates in {took['minutes']:.1f} minutes"
            + (f", {took['tokens_per_second']:,.0f} tokens/s" if "tokens_per_second" in took else "")
            + (f", {took['peak_memory_mb']:,.0f} MiB" if "peak_memory_mb" in took else "")
        )
    if version:
        lines.append(f"- registered as version {version}")
    if (root / PARITY).exists():
        parity = read_json(root / PARITY)
        lines.append(
            f"- ships as int8 ONNX ({parity['size_int8_mb']} MB): BLEU {parity['bleu_int8']:.1f}, PyTorch "
            f"{parity['bleu_torch']:.1f}; fp32 ONNX gives PyTorch's output on {parity['identical_fp32']:.1%} of {parity['rows']} rows"
        )
    return lines


def _table(rows: Sequence[Row]) -> str:
    lines = ["| stage | state | seconds | why |", "|---|---|---|---|"]
    lines += [f"| {row.name} | {row.state} | {row.seconds:.1f} | {_cell(row.message)} |" for row in rows]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
