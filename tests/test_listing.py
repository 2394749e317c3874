"""What people read of registered versions, against real MLflow: the table, one version's story, MLflow's descriptions."""

from pathlib import Path

import pytest

from doctune.errors import DoctuneError
from doctune.files import write_json, write_jsonl, write_text
from doctune.registry import api as registry
from doctune.registry.champions import move, record
from doctune.registry.listing import HEADINGS, story, table, text_of
from doctune.registry.snapshot import SNAPSHOT, snapshot_of
from doctune.registry.store import Store
from tests.test_registry import PARAMS, Files, everything, fresh_mlruns, store, write_files

__all__ = ["fresh_mlruns", "store"]  # fixtures


@pytest.fixture(autouse=True)
def _no_mlflow_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "DOCTUNE_PRESET", "DOCTUNE_FLOW_RUN_ID"):
        monkeypatch.delenv(name, raising=False)


def made(folder: Path, weights: str, rate: str, pages: dict[str, str]) -> Files:
    files = write_files(folder, weights)
    lock = files.dvc_lock.read_text(encoding="utf-8").replace("learning_rate: 0.0003", f"learning_rate: {rate}")
    crawl = "crawl: {name: example-site, licence: Apache-2.0, attribution: 某项目}"
    lock = lock.replace("      source.lock.yaml:", f"      params.yaml:\n        {crawl}\n      source.lock.yaml:")
    write_text(files.dvc_lock, lock)
    rows = [{"page": page, "en": "Wait.", "zh": zh} for page, zh in pages.items()]
    write_jsonl(files.splits / "train.jsonl", rows)
    write_text(files.base / "README.md", "---\nlanguage: [en, zh]\nlicense: cc-by-4.0\n---\n\n# Base\n")
    general = {"base": {"chrf": 31.0}, "tuned": {"chrf": 29.5}}
    scores = {"base": {"bleu": 29.9}, "tuned": {"bleu": 34.7, "terms": 86.4}, "general": general}
    write_json(files.metrics, scores)
    assert files.export_report
    write_json(files.export_report, {"bleu_int8": 34.3, "bleu_torch": 34.7, "identical_fp32": 1.0})
    return files


def test_table_and_story(store: Store, tmp_path: Path) -> None:
    pages = {"docs/a.md": "等待。", "docs/b.md": "请稍候。"}
    first = everything(store, made(tmp_path / "one", "权重一", "0.0003", pages))
    files = made(tmp_path / "two", "权重二", "0.0005", pages | {"docs/b.md": "请等待。", "docs/c.md": "等一等。"})
    everything(store, files)
    report = tmp_path / "split.json"
    write_json(report, {"leakage": {"test_in_train": {"identical": 0, "same_letters": 2, "near": 3, "ids": 0}}})
    second = registry.ensure_version(store, PARAMS, files, split_report=report)
    move(store, "doctune", first.number, None, "passed its gates")
    record(store, "doctune", "2", {"verdict": "refused", "gates": [{"gate": "terms", "passed": False}]}, {})

    rows = [dict(zip(HEADINGS, row, strict=True)) for row in table(registry.list_versions(store, "doctune"))]
    assert [(row["version"], row["aliases"]) for row in rows] == [("2", "challenger"), ("1", "champion")]
    assert [(row["decision"], row["int8"], row["terms"]) for row in rows] == [
        ("refused: terms", "34.30", "86.40"),
        ("not judged", "34.30", "86.40"),
    ]
    versions = registry.list_versions(store, "doctune")
    text = text_of(story(store, "doctune", versions, "challenger"))
    for said in (
        "source revision  examples/site@aaaa.dir",
        "34.70 (base 29.90)",
        "chrF on general text        29.50 (base 31.00)",
        "test rows in train          3",
        "what changed since version 1",
        "pages added: docs/c.md (1)",
        "pages changed: docs/b.md (1)",
        "pairs in train: 2 -> 3",
        "params train.learning_rate: 0.0003 -> 0.0005",
        "train ran: train.learning_rate",
    ):
        assert said in text, text
    assert "the first version: 2 pages; pairs: train 2, test 1" in text_of(story(store, "doctune", versions, "1"))
    assert "passed its gates" in text_of(story(store, "doctune", versions, "1"))
    with pytest.raises(DoctuneError, match="no version '7' of doctune; it has 2 challenger, 1 champion"):
        story(store, "doctune", versions, "7")

    model = store.client.get_registered_model("doctune").description
    assert model.startswith(PARAMS.description) and "`example-site`" in model
    described = store.client.get_model_version("doctune", second.number).description
    for said in (
        "bleu 34.70 (base 29.90)",
        "int8 ONNX with BLEU 34.30",
        'models:/doctune/2"',
        "Apache-2.0, 某项目; base cc-by-4.0",
    ):
        assert said in described, described
    assert "English is in train too: 3" in described


def test_what_is_gone_is_said(store: Store, tmp_path: Path) -> None:
    files = made(tmp_path / "one", "权重一", "0.0003", {"docs/a.md": "等待。"})
    version = everything(store, files)
    kept = registry.fetch(store, version.source) / version.tags[SNAPSHOT]
    kept.unlink()
    assert snapshot_of(store, version) is None
    versions = registry.list_versions(store, "doctune")
    assert "was not kept, or is gone" in text_of(story(store, "doctune", versions, "1"))
    registry.ensure_version(store, PARAMS, files)
    assert snapshot_of(store, version) is not None, "the next run keeps it again"
