"""Stage `evaluate`: scores base and tuned, and the translation memory beside them, on the test rows.

    python -m tasks.evaluate --splits data/splits \\
        --base data/hypotheses/base.jsonl --tuned data/hypotheses/tuned.jsonl \\
        --general-base data/hypotheses/base.general.jsonl --general-tuned data/hypotheses/tuned.general.jsonl \\
        --curves reports/train/curves.csv --metrics reports/metrics.json --plots reports/plots \\
        --changes reports/changes.jsonl --page reports/report.html

    data/splits/{train,test}.jsonl + hypotheses  ->  metrics.json     scores, intervals, differences, signatures
                                                     plots/           tables for `dvc plots`, PNG pictures
                                                     changes.jsonl    largest gains and losses; changes.md for reading
                                                     report.html      all of it and the loss curves on one page, offline
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from doctune.errors import DoctuneError
from doctune.files import read_jsonl, write_json, write_jsonl, write_text
from doctune.scoring import EvaluateParams
from doctune.section import load_section
from tasks.stage import stage

At = Annotated[Path, typer.Option()]


def main(
    splits: At,
    base: At,
    tuned: At,
    general_base: At,
    general_tuned: At,
    curves: At,
    metrics: At,
    plots: At,
    changes: At,
    page: At,
) -> None:
    from doctune.report.faults import faults
    from doctune.report.gather import curve_points, page_of
    from doctune.report.page import render
    from doctune.scoring.evaluation import (
        BASE,
        TUNED,
        Output,
        evaluate,
        general_summary,
        output_of,
        summarise,
        with_comet,
    )
    from doctune.scoring.plots import write_plots
    from doctune.scoring.report import changes_markdown, largest_changes, slice_scores
    from doctune.scoring.rows import check_general, check_splits

    params = load_section(EvaluateParams, "evaluate")
    table = changes.with_suffix(".md")
    if table == changes:
        raise DoctuneError(f"wanted --changes to name a .jsonl file, got {changes}; the Markdown table goes beside it")
    test, train = read_jsonl(splits / "test.jsonl"), read_jsonl(splits / "train.jsonl")
    check_splits(test, train, splits)
    general = read_jsonl(Path(params.general))
    check_general(general, Path(params.general))

    def outputs(rows: list[dict[str, Any]], *paths: Path) -> dict[str, Output]:
        pairs = zip((BASE, TUNED), paths, strict=True)
        found = {name: output_of(rows, read_jsonl(path), path) for name, path in pairs}
        return with_comet(rows, found, params.comet)

    print(f"scoring {len(test):,} rows; translation memory of {len(train):,} pairs", flush=True)
    glossary = Path(params.glossary)
    evaluation = evaluate(test, train, outputs(test, base, tuned), glossary)
    elsewhere = evaluate(general, [], outputs(general, general_base, general_tuned), glossary)
    summary = summarise(evaluation, params) | {"general": general_summary(elsewhere, params)}
    found = largest_changes(evaluation, params.largest_changes)
    by_slice = slice_scores(evaluation, params)
    write_plots(plots, summary, by_slice)
    write_jsonl(changes, found)
    write_text(table, changes_markdown(found))
    facts = page_of(
        evaluation,
        summary,
        by_slice,
        found,
        (TUNED, BASE),
        curves={TUNED: curve_points(curves)},
        breakdowns=faults(evaluation, glossary, TUNED),
    )
    write_text(page, render(facts))
    write_json(metrics, summary)
    _print(summary)


def _print(summary: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    from doctune.scoring.report import SCORE_HEADER, gain_line, other_table, score_table

    console = Console(highlight=False, soft_wrap=True)
    groups = [(f"All {summary['rows']:,} rows", summary), (f"{summary['new_rows']:,} new rows", summary["new"])]
    for title, group in groups:
        table = Table(title=title, title_justify="left")
        for index, name in enumerate(SCORE_HEADER):
            table.add_column(name, justify="right" if index else "left", no_wrap=True)
        for row in score_table(group):
            table.add_row(*row)
        if table.row_count:
            console.print(table)
    header, *rows = other_table(summary)
    table = Table(*header)
    for row in rows:
        table.add_row(*row)
    console.print(table)
    console.print(gain_line(summary))
    for name, reason in summary["skipped"].items():
        console.print(f"without {name}: {reason}")


if __name__ == "__main__":
    stage(main)
