"""Stage `register`: a version of the tuned model in MLflow's registry, with its scores and where it came from.

    python -m tasks.register --base models/base --model models/tuned --splits data/splits \\
        --metrics reports/metrics.json --changes reports/changes.md --plots reports/plots \\
        --curves reports/train/curves.csv --train-report reports/train/train.json \\
        --split-report reports/split.json --page reports/report.html --out reports/register.json

    models/tuned (+ base) + reports  ->  MLflow         run with curves, scores, tables; version with alias challenger
                                         register.json  name and content hashes, no id of MLflow's
"""

from pathlib import Path

from doctune.files import hash_path, write_json
from doctune.registry.lineage import DVC_LOCK
from doctune.section import load_section
from tasks.stage import stage


def main(
    base: Path,
    model: Path,
    splits: Path,
    metrics: Path,
    changes: Path,
    plots: Path,
    curves: Path,
    train_report: Path,
    split_report: Path,
    page: Path,
    out: Path,
) -> None:
    from doctune.registry import api as registry

    params = load_section(registry.RegisterParams, "register")
    files = registry.Files(base, model, splits, metrics, changes, plots, curves, train_report, DVC_LOCK, page=page)
    digest = registry.model_hash(files)
    store = registry.connect()
    run_id, replayed = registry.ensure_run(store, files)
    if replayed:
        print("MLflow had lost the training run: replayed from its curves")
    registry.log_evaluation(store, run_id, files)
    version = registry.ensure_version(store, params, files, digest, split_report)
    write_json(out, {"name": params.name, "model_hash": digest, "data_hash": hash_path(splits)})
    print(f"version {version.number} of {version.name} ({', '.join(version.aliases)}), model {digest[:12]}")


if __name__ == "__main__":
    stage(main)
