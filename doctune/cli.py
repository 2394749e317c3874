"""The `doctune` command. Each subcommand imports what it needs when it runs, so that `doctune --help` answers at once.

doctune run --preset k8s-small --set train.epochs=2
doctune translate "Pods are the smallest deployable units."
"""

import sys
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

import typer

from doctune.errors import ERROR_PREFIX, DoctuneError

MADE_BASE = Path("models/base")

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__.partition("\n")[0]
)
source_app = typer.Typer(no_args_is_help=True, help="Where the documentation is read from.")
app.add_typer(source_app, name="source")
models_app = typer.Typer(invoke_without_command=True, help="List the registered versions, newest first, or show one.")
app.add_typer(models_app, name="models")
review_app = typer.Typer(no_args_is_help=True, help="People judge translations: a blind sheet out, ratings back.")
app.add_typer(review_app, name="review")


@app.command()
def run(
    preset: Annotated[
        str | None, typer.Option(help="A file of presets/; without one, params.yaml as it stands.")
    ] = None,
    overrides: Annotated[list[str] | None, typer.Option("--set", help="section.key=value; may be repeated.")] = None,
    refresh: Annotated[
        bool, typer.Option(help="First move source.lock.yaml to where the source's branch stands now.")
    ] = False,
) -> None:
    """Run the pipeline as a Prefect flow: crawl, align, split, train, translate, evaluate, register, export, promote."""
    from doctune.params import effective
    from flows.run import run_pipeline

    effective(preset, overrides or [])  # every mistake at once, before anything is started
    print(run_pipeline(preset, overrides or [], refresh).text, end="")


@app.command("configure")
def configure_project(
    preset: Annotated[
        str | None, typer.Option(help="A file of presets/; without one, params.yaml as it stands.")
    ] = None,
    overrides: Annotated[list[str] | None, typer.Option("--set", help="section.key=value; may be repeated.")] = None,
) -> None:
    """Write a preset, and what --set says, into params.yaml and run nothing: for `dvc repro` and `doctune estimate`."""
    from doctune.params import configure
    from flows.checkout import only_flow_run

    with only_flow_run(Path.cwd()):  # which would read params.yaml half way through
        configure(preset, overrides or [])


@app.command()
def estimate(
    overrides: Annotated[list[str] | None, typer.Option("--set", help="section.key=value; may be repeated.")] = None,
    base: Annotated[Path, typer.Option(help="The base, as its stages make it.")] = MADE_BASE,
    splits: Annotated[Path, typer.Option(help="The splits, as their stage makes them.")] = Path("data/splits"),
) -> None:
    """Tell what training will take here: tokens, hours, memory, money. Trains for 13 updates and keeps nothing."""
    from contextlib import redirect_stdout

    from rich.console import Console
    from rich.table import Table

    from doctune.bases import check_origin
    from doctune.files import read_jsonl
    from doctune.params import effective
    from doctune.training.estimate import estimate

    params = effective(None, overrides or [])
    if base == MADE_BASE:
        check_origin(params.base, Path("reports/base.json"))
    train, valid = (read_jsonl(splits / f"{name}.jsonl") for name in ("train", "valid"))
    with redirect_stdout(sys.stderr):  # the probe's own lines
        found = estimate(base, train, valid, params.train, params.base.remote_code)
    table = Table(show_header=False)
    for name, value in found.rows():
        table.add_row(name, value)
    Console().print(table)


@app.command()
def sweep(
    preset: Annotated[
        str | None, typer.Option(help="A file of presets/; without one, params.yaml as it stands.")
    ] = None,
    overrides: Annotated[list[str] | None, typer.Option("--set", help="section.key=value; may be repeated.")] = None,
    trials: Annotated[int | None, typer.Option(help="Short for --set sweep.trials=N.")] = None,
    name: Annotated[
        str | None, typer.Option(help="Of the study, and of the preset that the best trial becomes.")
    ] = None,
) -> None:
    """Search the space of params.yaml's `sweep` section for better knobs of train; started again, it goes on."""
    from doctune.params import effective
    from doctune.sweeping.preset import check_name
    from doctune.sweeping.space import check_space
    from flows.run import run_sweep

    changes = [*(overrides or []), *([f"sweep.trials={trials}"] if trials is not None else [])]
    params = effective(preset, changes)  # every mistake at once, before anything is started
    check_space(params.train, params.sweep)
    if name is not None:
        check_name(name)
    print(run_sweep(preset, changes, name).text, end="")


@app.command()
def translate(
    texts: Annotated[
        list[str] | None, typer.Argument(help="English texts; without any, one a line from standard input.")
    ] = None,
    model: Annotated[str, typer.Option(help="Alias or number of the registered version.")] = "champion",
    name: Annotated[str | None, typer.Option(help="Registered model; by default the one in params.yaml.")] = None,
    term: Annotated[
        bool, typer.Option(help="The texts are terms: ask a multi-task model for their renderings.")
    ] = False,
) -> None:
    """Translate English into Chinese with the registered model, as it ships (ONNX, int8)."""
    from doctune.prompts import TERM, TRANSLATE
    from doctune.pyfunc import load_engine
    from doctune.registry.api import RegisterParams, connect, fetch, shipped_uri, weights_in
    from doctune.section import load_section

    asked = texts or _lines_of_standard_input()
    store = connect()
    registered = name or load_section(RegisterParams, "register").name
    engine = load_engine(weights_in(fetch(store, shipped_uri(store, registered, model))))
    for answer in engine.translate(asked, task=TERM if term else TRANSLATE):
        print(answer)


def _lines_of_standard_input() -> list[str]:
    try:
        return [line.rstrip("\n") for line in TextIOWrapper(sys.stdin.buffer, "utf-8-sig")]
    except UnicodeDecodeError as error:
        raise DoctuneError(
            f"wanted texts in UTF-8 from standard input, got other bytes ({error.reason}); convert them first"
        ) from None


@app.command()
def align(
    english: Annotated[Path, typer.Argument(metavar="EN_DIR", help="Folder of the English pages.")],
    chinese: Annotated[Path, typer.Argument(metavar="ZH_DIR", help="Folder of the Chinese pages.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the pairs go, as JSON Lines.")],
    sentences: Annotated[bool, typer.Option(help="Pairs of sentences instead of blocks.")] = False,
    report: Annotated[Path | None, typer.Option(help="Where the account of what was left out goes, as JSON.")] = None,
) -> None:
    """Align two folders of Markdown, whatever site they are of: comments where there are any, else structure and words."""
    from doctune.alignment.params import AlignParams
    from doctune.alignment.trees import align_trees
    from doctune.files import write_json, write_jsonl
    from doctune.machine import cores
    from doctune.section import PARAMS_FILE, load_section

    knobs = PARAMS_FILE if PARAMS_FILE.exists() else Path(__file__).parents[1] / "presets" / "embedded.yaml"
    params = load_section(AlignParams, "align", knobs)
    params = params.model_copy(update={"sentences": sentences or params.sentences})
    pairs, account = align_trees(english, chinese, params, cores())
    write_jsonl(out, pairs)
    if report is not None:
        write_json(report, account)
    dropped = ", ".join(f"{count:,} {why}" for why, count in account["dropped"].items()) or "nothing"
    print(f"{len(pairs):,} pairs from {account['pages']['both']:,} pages in both languages; left out: {dropped}")


@models_app.callback()
def models(
    context: typer.Context,
    name: Annotated[str | None, typer.Option(help="Registered model; by default the one in params.yaml.")] = None,
) -> None:
    """List the registered versions, newest first: aliases, scores, what promotion decided."""
    if context.invoked_subcommand is not None:
        return
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from doctune.registry.api import RegisterParams, connect, list_versions
    from doctune.registry.listing import HEADINGS, table
    from doctune.section import load_section

    shown = Table(*HEADINGS, box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for row in table(list_versions(connect(), name or load_section(RegisterParams, "register").name)):
        shown.add_row(*row)
    Console().print(shown)


@models_app.command("show")
def show_model(
    version: Annotated[str, typer.Argument(help="Number or alias.")],
    name: Annotated[str | None, typer.Option(help="Registered model; by default the one in params.yaml.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as one JSON object.")] = False,
) -> None:
    """Tell where a version came from, what its gates said, and what changed since the version before."""
    import json

    from doctune.registry.api import RegisterParams, connect, list_versions
    from doctune.registry.listing import story, text_of
    from doctune.section import load_section

    store, registered = connect(), name or load_section(RegisterParams, "register").name
    found = story(store, registered, list_versions(store, registered), version)
    print(json.dumps(found, ensure_ascii=False, indent=2) + "\n" if as_json else text_of(found), end="")


@app.command()
def promote(
    version: Annotated[
        str, typer.Argument(metavar="[VERSION]", help="Alias or number of the version that is judged.")
    ] = "challenger",
    force: Annotated[
        str | None, typer.Option(metavar="REASON", help="Promote in spite of failed gates; the reason is kept.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Registered model; by default the one in params.yaml.")] = None,
) -> None:
    """Judge a registered version and make it champion if it passes the gates of params.yaml.

    Exit code 0: it is champion. 3: it was refused, and the champion stays. 1: it could not be judged.
    """
    from doctune.promotion.promoting import REFUSED_EXIT_CODE
    from flows.run import run_promotion

    decision = run_promotion(version, force, name)
    print(decision.text, end="")
    if decision.verdict == "refused":
        raise typer.Exit(REFUSED_EXIT_CODE)


@app.command()
def rollback(
    reason: Annotated[str, typer.Option(help="Why; kept with the version that is left.")],
    name: Annotated[str | None, typer.Option(help="Registered model; by default the one in params.yaml.")] = None,
) -> None:
    """Return to the champion before; the one that is left is not promoted again but with --force."""
    from doctune.registry.api import RegisterParams, connect, roll_back
    from doctune.section import load_section

    left, now = roll_back(connect(), name or load_section(RegisterParams, "register").name, reason)
    print(f"champion of {now.name} is version {now.number} again; version {left.number} is rolled back")


@app.command("lint")
def lint_files(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE...", help="Chinese Markdown pages, or folders of them; - is standard input."),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a finding.")] = False,
    fix: Annotated[bool, typer.Option(help="Mend in place what has a safe mend, and tell what is left.")] = False,
) -> None:
    """Check Chinese pages against the style rules of the zh-cn guide; exit code 1 when there are findings."""
    from doctune.lint.files import lint_all

    if lint_all(files, as_json, fix):
        raise typer.Exit(1)


@source_app.command("update")
def source_update() -> None:
    """Move source.lock.yaml to where the source's branch or tag stands now; of a web site, to what a crawl finds."""
    from doctune.registry.lineage import LOCK_OF_SOURCES
    from doctune.section import load_section
    from doctune.sources.lock import update
    from doctune.sources.params import CrawlParams

    params = load_section(CrawlParams, "crawl")
    old, new = update(params, Path(LOCK_OF_SOURCES))
    print(f"{params.name}: " + ("nothing changed" if old == new else f"{old or 'nothing'} -> {new}"))


@app.command()
def report(
    systems: Annotated[list[str], typer.Option("--system", help="NAME=FILE with hypotheses; may be repeated.")],
    splits: Annotated[Path, typer.Option(help="The splits that were translated.")] = Path("data/splits"),
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the page goes.")] = Path("report.html"),
    system: Annotated[
        str | None, typer.Option("--compare", help="Whose changes are shown; by default the last.")
    ] = None,
    over: Annotated[str | None, typer.Option(help="What the others are compared with; by default the first.")] = None,
    curves: Annotated[list[str] | None, typer.Option(help="NAME=FILE, train's curves.csv; may be repeated.")] = None,
    gates: Annotated[Path | None, typer.Option(help="JSON list of {gate, wanted, got, passed}.")] = None,
    general: Annotated[
        list[str] | None, typer.Option(help="NAME=FILE with hypotheses of evaluate.general; may be repeated.")
    ] = None,
) -> None:
    """Put any number of systems on one page that needs no network: scores, plots, the largest changes."""
    from doctune.files import read_json, read_jsonl, write_text
    from doctune.report.gather import compare, curve_points
    from doctune.report.page import render
    from doctune.report.systems import named_files, outputs_of
    from doctune.scoring import EvaluateParams
    from doctune.scoring.rows import check_general, check_splits
    from doctune.section import PARAMS_FILE, load_section

    home = Path() if PARAMS_FILE.exists() else Path(__file__).parents[1]
    params = load_section(
        EvaluateParams, "evaluate", PARAMS_FILE if PARAMS_FILE.exists() else home / "presets" / "embedded.yaml"
    )
    params = params.model_copy(update={"glossary": str(home / params.glossary), "general": str(home / params.general)})
    files = named_files(systems)
    test, train = read_jsonl(splits / "test.jsonl"), read_jsonl(splits / "train.jsonl")
    check_splits(test, train, splits)
    elsewhere = None
    if general:
        texts = read_jsonl(Path(params.general))
        check_general(texts, Path(params.general))
        elsewhere = (texts, outputs_of(texts, named_files(general)))
    page = compare(
        test,
        train,
        outputs_of(test, files),
        params,
        (system or list(files)[-1], over or next(iter(files))),
        {name: curve_points(path) for name, path in named_files(curves or []).items()},
        read_json(gates) if gates else (),
        elsewhere,
    )
    write_text(out, render(page))
    print(f"{len(files)} systems on {len(test):,} rows: {out}")


@review_app.command("export")
def review_export(
    systems: Annotated[
        list[str] | None, typer.Option("--system", help="NAME=FILE with hypotheses; by default base and tuned.")
    ] = None,
    rows: Annotated[int, typer.Option(min=1, help="How many rows of the test set are drawn.")] = 50,
    seed: Annotated[int, typer.Option(help="Of the draw and of the shuffling.")] = 17,
    reference: Annotated[bool, typer.Option(help="Let the human translation be judged beside the systems.")] = False,
    splits: Annotated[Path, typer.Option(help="The splits that were translated.")] = Path("data/splits"),
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder: raters/ to send, key.json to keep.")] = Path(
        "review"
    ),
) -> None:
    """Write a blind sheet, as CSV and as a form for the browser, and the key that un-blinds it."""
    from doctune.files import read_jsonl
    from doctune.report.systems import named_files, outputs_of
    from doctune.review.sheet import make_key, write_sheet
    from doctune.rows import check_rows
    from doctune.scoring.judged import REFERENCE
    from doctune.scoring.rows import TEST_FIELDS
    from doctune.text import flatten

    test = read_jsonl(splits / "test.jsonl")
    check_rows(test, TEST_FIELDS, splits / "test.jsonl")
    files = systems or [f"{name}=data/hypotheses/{name}.jsonl" for name in ("base", "tuned")]
    outputs = {name: output.texts for name, output in outputs_of(test, named_files(files)).items()}
    if reference:
        outputs[REFERENCE] = [flatten(row["zh"], "zh") for row in test]
    write_sheet(make_key(test, outputs, rows, seed), out)
    print(f"{rows:,} rows of {len(outputs)} systems: send {out / 'raters'}, keep {out / 'key.json'}")


@review_app.command("import")
def review_import(
    files: Annotated[list[Path], typer.Argument(help="CSV files that raters sent back.")],
    key: Annotated[Path, typer.Option(help="The key.json of the sheet.")] = Path("review/key.json"),
) -> None:
    """Check and un-blind ratings, print what they say, and log it to MLflow."""
    from dataclasses import asdict

    from doctune.registry.reviews import log_review
    from doctune.registry.store import connect
    from doctune.review.ratings import read_ratings
    from doctune.review.sheet import read_key
    from doctune.review.verdict import verdict

    asked = read_key(key)
    ratings = read_ratings(files, asked)
    found = verdict(ratings, asked.systems)
    print(f"{found['raters']} raters, {found['items']} of {len(asked.items)} items, {found['ratings']} ratings")
    for name, mean in found["systems"].items():
        print(f"{name}: {mean['mean']:.2f} ({mean['low']:.2f} to {mean['high']:.2f}), {mean['items']} items")
    for row in found["preferences"]:
        counts = f"{row['wins']} won, {row['ties']} tied, {row['losses']} lost"
        print(f"{row['system']} against {row['over']}: {counts}, p = {row['p_value']:.4f}")
    print(
        "Krippendorff's alpha: "
        + (
            "none, no item has two ratings that differ from others"
            if found["alpha"] is None
            else f"{found['alpha']:.2f}"
        )
    )
    log_review(connect(), asked.sheet, found, [asdict(rating) for rating in ratings])


@app.command()
def ui(
    mlflow_port: Annotated[int, typer.Option(help="0: any free port.")] = 5000,
    prefect_port: Annotated[int, typer.Option(help="0: any free port.")] = 4200,
) -> None:
    """Open the MLflow and the Prefect UI on this machine and print their addresses; Ctrl-C ends both."""
    from flows.ui import serve

    serve(mlflow_port, prefect_port)


@app.command()
def schedule(
    cron: Annotated[str | None, typer.Option(help="Another time than prefect.yaml's, as cron.")] = None,
    preset: Annotated[
        str | None, typer.Option(help="Of every scheduled run; without one, what prefect.yaml says.")
    ] = None,
    overrides: Annotated[list[str] | None, typer.Option("--set", help="section.key=value; may be repeated.")] = None,
) -> None:
    """Deploy the nightly run and work on it: work pool, deployment and a worker in the foreground, on the local server."""
    from doctune.params import effective
    from flows.schedule import schedule as start

    effective(preset, overrides or [])
    start(cron, preset, overrides)


def main() -> None:
    try:
        app()
    except DoctuneError as error:
        print(f"{ERROR_PREFIX}{error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
