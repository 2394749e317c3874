"""Stage `export`: the tuned model as int8 ONNX, proven on test rows, and logged as what its registered version ships.

    python -m tasks.export --base models/base --model models/tuned --test data/splits/test.jsonl \\
        --hypotheses data/hypotheses/tuned.jsonl --onnx models/onnx --report reports/export.json \\
        --splits data/splits --metrics reports/metrics.json --changes reports/changes.md --plots reports/plots \\
        --curves reports/train/curves.csv --train-report reports/train/train.json

    models/tuned (+ base)  ->  fp32 graphs, checked, thrown away  ->  models/onnx   int8 graphs, tokenizer, shipped.json
    test rows, PyTorch's translations of them                     ->  export.json   parity, BLEU, sizes
                                                                      MLflow        the version's tag shipped_model

Nothing is written unless fp32 gives PyTorch's outputs and int8 keeps its BLEU, both within the limits of params.yaml.
"""

import shutil
from pathlib import Path
from typing import Annotated, Any

import typer

from doctune.files import hash_path, read_jsonl, whole_dir, write_json
from doctune.locks import hold
from doctune.onnx import ExportParams
from doctune.registry.lineage import DVC_LOCK
from doctune.section import load_section
from doctune.translation import TranslateParams, Translator, make_translator
from doctune.trust import remote_code_allowed
from tasks.stage import stage

WORK = Path(".doctune/export")  # of a fixed name: what a killed run left there goes when the next one begins

At = Annotated[Path, typer.Option()]


def main(
    base: At,
    model: At,
    test: At,
    hypotheses: At,
    onnx: At,
    report: At,
    splits: At,
    metrics: At,
    changes: At,
    plots: At,
    curves: At,
    train_report: At,
) -> None:
    from doctune.registry import api as registry

    params, decoding = load_section(ExportParams, "export"), load_section(TranslateParams, "translate")
    with hold(WORK / "lock", f"to export {model}"):
        facts = export(base, model, splits, test, hypotheses, onnx, params, decoding, remote_code_allowed())
    write_json(report, facts)
    print(
        f"fp32 ONNX gives PyTorch's output on {100 * facts['identical_fp32']:.1f} % of {facts['rows']} rows "
        f"({facts['size_fp32_mb']} MB); int8 has BLEU {facts['bleu_int8']:.2f}, PyTorch {facts['bleu_torch']:.2f} "
        f"({facts['size_int8_mb']} MB)"
    )
    files = registry.Files(
        base, model, splits, metrics, changes, plots, curves, train_report, DVC_LOCK, onnx=onnx, export_report=report
    )
    version = registry.ensure_shipped(
        registry.connect(), load_section(registry.RegisterParams, "register"), files, facts["onnx_hash"]
    )
    print(f"version {version.number} of {version.name} ships {version.shipped}")


def export(
    base: Path,
    model: Path,
    splits: Path,
    test: Path,
    hypotheses: Path,
    onnx: Path,
    params: ExportParams,
    decoding: TranslateParams,
    remote_code: bool = False,
) -> dict[str, Any]:
    """Write the folder `onnx` and return the report; DoctuneError, and no folder, where a limit is not kept."""
    from doctune.models import load_model, merged
    from doctune.onnx import export_onnx, load, quantise
    from doctune.onnx.parity import check, choose, compare
    from doctune.onnx.runtime import open_graphs
    from doctune.rows import TRANSLATED_FIELDS, check_rows
    from doctune.scoring.rows import hypotheses_of
    from doctune.text import flatten
    from doctune.vocabulary import trim

    rows = read_jsonl(test)
    check_rows(rows, TRANSLATED_FIELDS, test)
    outputs = hypotheses_of(rows, read_jsonl(hypotheses), hypotheses)
    chosen = choose(rows, params.parity_rows)
    sources = [rows[i]["en"] for i in chosen]
    fp32 = WORK / "fp32"
    shutil.rmtree(fp32, ignore_errors=True)
    try:
        with whole_dir(onnx) as tmp:
            print(f"exporting {model} to ONNX", flush=True)
            loaded = merged(load_model(model, base, remote_code))
            whole = [outputs[i] for i in chosen]
            same = whole  # what the exported model is to give: PyTorch's outputs, of the very model that is exported
            if params.trim_vocabulary:
                pieces, loaded = len(loaded.tokenizer), trim(loaded, read_jsonl(splits / "train.jsonl"))
                print(f"{len(loaded.tokenizer):,} of {pieces:,} pieces stay", flush=True)
                same = _decode(make_translator(loaded, decoding), sources, "trimmed")
            export_onnx(loaded, fp32)
            print("quantising to int8", flush=True)
            quantise(fp32, tmp, decoding)
            from_fp32 = _decode(open_graphs(fp32, decoding), sources, "fp32 ONNX")
            from_int8 = _decode(load(tmp), sources, "int8 ONNX")
            references = [flatten(rows[i]["zh"], "zh") for i in chosen]
            parity = compare(whole, same, from_fp32, from_int8, references)
            check(parity, params)
            sizes = {"size_fp32_mb": _megabytes(fp32), "size_int8_mb": _megabytes(tmp)}
    finally:
        shutil.rmtree(fp32, ignore_errors=True)
    return {
        "rows": parity.rows,
        "identical_fp32": round(parity.share, 4),
        "bleu_torch": round(parity.bleu_torch, 4),
        "bleu_int8": round(parity.bleu_int8, 4),
        "bleu_loss_int8": round(parity.bleu_loss, 4) + 0.0,  # + 0.0 turns -0.0 into 0.0
        "chrf_int8": round(parity.chrf_int8, 4),
        **sizes,
        "onnx_hash": hash_path(onnx),
        "hypotheses_hash": hash_path(hypotheses),
    }


def _decode(translator: Translator, sources: list[str], name: str) -> list[str]:
    def progress(done: int, total: int) -> None:
        print(f"{name}: translated {done}/{total} rows", flush=True)

    return translator.translate(sources, progress)


def _megabytes(folder: Path) -> float:
    """Graphs and weights beside them, in MB (10^6 bytes); the second decoder has the first's weights: not counted."""
    from doctune.onnx.runtime import WITH_PAST

    graphs = [file for file in folder.iterdir() if ".onnx" in file.name and not file.name.startswith(WITH_PAST)]
    return round(sum(file.stat().st_size for file in graphs) / 1e6, 2)


if __name__ == "__main__":
    stage(main)
