"""What a flow run did, as plain data and as Markdown (the run's artifact in Prefect).

summary = summarise(Path.cwd(), dag.commands(), rows)
summary.counts()                   # {"Cached": 9, "Completed": 1}
print(summary.markdown)
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from doctune.registry.store import shown, tracking_uri
from doctune.tables import literal, markdown_table
from flows.graph import options_of


@dataclass(frozen=True)
class Row:
    """One stage of a run. `state`: Cached, Restored, Completed, Failed, Cancelled, or Not run."""

    name: str
    state: str
    seconds: float
    message: str


@dataclass(frozen=True)
class RunSummary:
    """What a run did."""

    stages: tuple[Row, ...]
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
    root: Path, commands: Mapping[str, str], rows: Sequence[Row], version: str | None = None, promotion: str = ""
) -> RunSummary:
    """Put together stages, what was made of what, scores, what the gates said and the place to look further.

    Reports are where the stages' commands say.
    """
    cells = [(literal(row.name), row.state, f"{row.seconds:.1f}", literal(row.message)) for row in rows]
    parts = [markdown_table(("stage", "state", "seconds", "why"), cells), ""]
    metrics = _file(root, commands, "evaluate", "metrics")
    if metrics and all(row.state in ("Cached", "Restored", "Completed") for row in rows):
        from doctune.files import read_json
        from doctune.scoring.report import markdown_summary

        parts += [*_made(root, commands, version), "", markdown_summary(read_json(metrics)), ""]
    if promotion:
        parts += ["## Promotion", "", promotion]
    mlflow = shown(tracking_uri(root))
    look = mlflow if mlflow.startswith("http") else f"`make ui` ({mlflow})"
    parts.append(f"Experiments and models, in MLflow: {look}")
    return RunSummary(tuple(rows), "\n".join(parts) + "\n")


def _made(root: Path, commands: Mapping[str, str], version: str | None) -> list[str]:
    """Pairs, version and parity, a line each, as far as their reports exist."""
    from doctune.files import read_json

    lines = []
    align, split = _file(root, commands, "align", "report"), _file(root, commands, "split", "report")
    if align and split:
        pairs, rows = read_json(align)["pairs"], read_json(split)["rows"]
        parts = ", ".join(f"{name} {count:,}" for name, count in rows.items())
        lines.append(f"- {pairs['total']:,} pairs ({pairs['distinct']:,} distinct): {parts}")
    card, renderings = _file(root, commands, "card", "out"), _file(root, commands, "card", "renderings")
    if card and renderings:
        page, several = (card / "README.md").relative_to(root), renderings.with_suffix(".md").relative_to(root)
        lines.append(f"- the data card: {page}; English that has several renderings: {several}")
    train = _file(root, commands, "train", "report")
    if train and (took := (training := read_json(train)).get("measured")):
        lines.append(
            f"- trained {training['trainable_parameters'] / 1e6:,.2f} of {training['parameters'] / 1e6:,.2f} M parameters for "
            f"{training['steps']:,} updates in {took['minutes']:.1f} minutes"
            + (f", {took['tokens_per_second']:,.0f} tokens/s" if "tokens_per_second" in took else "")
            + (f", {took['peak_memory_mb']:,.0f} MiB" if "peak_memory_mb" in took else "")
        )
    if version:
        lines.append(f"- registered as version {version}")
    if export := _file(root, commands, "export", "report"):
        parity = read_json(export)
        lines.append(
            f"- ships as int8 ONNX ({parity['size_int8_mb']} MB): BLEU {parity['bleu_int8']:.1f}, PyTorch "
            f"{parity['bleu_torch']:.1f}; fp32 ONNX gives PyTorch's output on {parity['identical_fp32']:.1%} of {parity['rows']} rows"
        )
    return lines


def _file(root: Path, commands: Mapping[str, str], stage: str, option: str) -> Path | None:
    """What a stage's command names by this option, once it is there."""
    name = options_of(commands.get(stage, "")).get(option)
    return root / name if name and (root / name).exists() else None
