"""Continued pretraining: what of the pages is read and what never is, rows of tokens, and the stage that hands the base on."""

import contextlib
import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from doctune.adapting.heldout import HeldOut
from doctune.adapting.params import AdaptParams
from doctune.adapting.passages import passages
from doctune.adapting.texts import own_texts
from doctune.errors import DoctuneError
from doctune.files import hash_path, write_jsonl
from doctune.prompts import IGNORED
from doctune.registry.runs import find_run
from doctune.registry.store import connect
from doctune.section import validate
from doctune.sources import Page, write_pages
from tests.tiny import tiny_marian, tiny_qwen

ROOT = Path(__file__).parents[1]
KNOBS: dict[str, Any] = {
    "epochs": 2.0,
    "learning_rate": 2e-3,
    "batch_tokens": 256,
    "gradient_accumulation": 1,
    "gradient_checkpointing": False,
    "max_length": 64,
    "warmup_ratio": 0.1,
    "weight_decay": 0.0,
    "valid": 0.3,
    "eval_steps": 4,
    "leave_out": [],
    "precision": "fp32",
    "processes": 1,
    "seed": 3,
}


def params(**changes: Any) -> AdaptParams:
    return validate(AdaptParams, KNOBS | changes, "adapt:")


PAGES = {
    "block syntax and anchors go, inline Markdown stays": (
        "en",
        "## Drain a *node* {#drain}\n\n- Stop the\n  [kubelet](/docs/kubelet/).\n- Wait.\n",
        ["Drain a *node*", "Stop the [kubelet](/docs/kubelet/).", "Wait."],
    ),
    "the English in a Chinese page's comments is no text of it": (
        "zh",
        "<!--\nA Pod binds to\na node.\n-->\nPod 绑定到\n一个节点。\n",
        ["Pod 绑定到一个节点。"],
    ),
    "code stays as it stands": (
        "zh",
        "先运行：\n\n```sh\nkubectl drain node-1 \\\n    --force\n```\n",
        ["先运行：", "```sh\nkubectl drain node-1 \\\n    --force\n```"],
    ),
    "front matter and shortcodes are no text, what a shortcode holds is": (
        "zh",
        "---\ntitle: 排空节点\nweight: 3\n---\n{{< note >}}\n<!-- Take care. -->\n请小心操作。\n{{< /note >}}\n",
        ["请小心操作。"],
    ),
    "cells of a table": ("en", "| Field | Meaning |\n|---|---|\n| `port` | where it listens |\n", None),
    "nothing": ("en", "", []),
}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_as_its_readers_see_it(name: str) -> None:
    lang, source, expected = PAGES[name]
    found = passages("zh" if lang == "zh" else "en", source)
    assert found == (["Field", "Meaning", "`port`", "where it listens"] if expected is None else expected)


HELD = HeldOut(
    [
        {
            "page": "tasks/drain.md",
            "en": "Drain the node before you upgrade it, and uncordon it once the new version of its kubelet runs.",
            "zh": "升级之前先清空节点，等新版本的 kubelet 运行后再解除其隔离状态。",
        },
        {"page": "concepts/pods.md", "en": "Clean up", "zh": "清理现场"},
    ],
    near=0.8,
)
SOURCE = "Drain the node before you upgrade it, and uncordon it once the new version of its kubelet runs."


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param(SOURCE, "same", id="a source"),
        pytest.param("drain the **node** before\nyou upgrade it; and uncordon it once the new version of its [kubelet](/k/) runs", "same", id="other markup"),
        pytest.param("升级之前先清空节点，等新版本的 `kubelet` 运行后再解除其隔离状态", "same", id="a target"),
        pytest.param("Clean up", "same", id="a short source"),
        pytest.param("清理现场", "same", id="a short target"),
        pytest.param(SOURCE.replace("upgrade", "update"), "near", id="a word of it changed"),
        pytest.param("升级之前要清空节点，等新版本的 kubelet 运行后再解除其隔离状态。", "near", id="a Chinese word changed"),
        pytest.param(f"This page is for operators of large clusters who change versions often. {SOURCE} Then go on with the next of your many other nodes.", "inside", id="a sentence of more"),
        pytest.param("本页面向经常更换版本的大型集群的运维人员。升级之前先清空节点，等新版本的 kubelet 运行后再解除其隔离状态。之后继续处理其余各个节点，直到全部完成为止。", "inside", id="a Chinese sentence of more"),
        pytest.param("Clean up your room before guests come", "", id="short texts occur by chance"),
        pytest.param("The scheduler looks for a node with room for the Pod.", "", id="something else"),
        pytest.param("调度器寻找有空间容纳 Pod 的节点。", "", id="something else in Chinese"),
    ],
)  # fmt: skip
def test_what_counts_as_held(text: str, reason: str) -> None:
    assert HELD.reasons([text]) == [reason]
    assert HELD.pages == {"tasks/drain", "concepts/pods"}


def page(lang: str, path: str, text: str) -> dict[str, str]:
    return {"lang": lang, "path": path, "text": text}


def site(count: int) -> list[dict[str, str]]:
    """Pages in both languages, each with a passage that all share and one of its own, whose words no other has."""
    pages = []
    for n in range(count):
        pages.append(page("en", f"p{n}.md", f"# Clean up\n\nPage{n} explains{n} volume{n} and{n} claim{n}.\n"))
        pages.append(
            page("zh", f"p{n}.md", f"# 清理现场\n\n<!--\nComment{n} of English.\n-->\n卷{n}与申领{n}的说明{n}。\n")
        )
    return pages


# each with at least seven pages of the fifteen on either side, so that six held ones leave some
@given(st.sets(st.integers(0, 14), min_size=1, max_size=6), st.sampled_from([0, 2, 5]))
@settings(deadline=None, max_examples=25)
def test_no_page_and_no_text_of_test_and_valid_is_read(held: set[int], seed: int) -> None:
    rows = [
        {
            "page": f"p{n}.md",
            "en": f"Page{n} explains{n} volume{n} and{n} claim{n}.",
            "zh": f"卷{n}与申领{n}的说明{n}。",
        }
        for n in held
    ]
    moved = [
        page("en", f"moved{n}.md", f"Again: page.\n\nPage{n} explains{n} volume{n} and{n} claim{n}\n") for n in held
    ]
    texts = own_texts([*site(15), *moved], rows, params(seed=seed, valid=0.5), near=0.8)
    everything = "\n".join([*texts.train, *texts.valid])
    for row in rows:
        assert row["en"].rstrip(".") not in everything and row["zh"] not in everything
    for n in set(range(15)) - held:
        assert f"Page{n} explains{n}" in everything and f"卷{n}与申领{n}" in everything
    assert "Comment" not in everything
    pages, found = texts.counts["pages"], texts.counts["passages"]
    assert pages["of_test_or_valid"] == 2 * len(held) and sum(pages.values()) == 30 + len(held)
    assert found["same"] == len(held), "the moved passages"
    assert found["read"] == 4 * (15 - len(held)) + len(held)


def test_both_languages_of_a_page_are_on_one_side_and_globs_leave_pages_out() -> None:
    texts = own_texts(site(40), [], params(leave_out=["p1*"]), near=0.8)
    sides = [{n for n in range(40) if any(mark(n) in text for text in part)} for part in (texts.train, texts.valid) for mark in (lambda n: f"Page{n} ", lambda n: f"卷{n}与")]  # fmt: skip
    assert sides[0] == sides[1] and sides[2] == sides[3] and not sides[0] & sides[2]
    assert sides[0] | sides[2] == {n for n in range(40) if not str(n).startswith("1")}
    assert texts.counts["pages"]["named"] == 22


def test_a_page_of_another_name_in_the_other_language_is_one_page() -> None:
    """Rows name the Chinese page; its English one may be named otherwise (doctune.alignment.names)."""
    pages = [page(lang, f"p{n}/index.{mark}.md", f"Page{n}x of {lang}.\n") for n in range(40) for lang, mark in (("en", "en-US"), ("zh", "zh-CN"))]  # fmt: skip
    row = {"page": "p7/index.zh-CN.md", "en": "Something else.", "zh": "别的内容。"}
    texts = own_texts(pages, [row], params(), near=0.8)
    assert texts.counts["pages"]["of_test_or_valid"] == 2 and "Page7x" not in "\n".join([*texts.train, *texts.valid])
    sides = [{n for n in range(40) for text in part if f"Page{n}x" in text} for part in (texts.train, texts.valid)]
    assert not sides[0] & sides[1] and sides[0] | sides[1] == set(range(40)) - {7}


def test_personal_data_is_masked_and_secrets_are_left_out() -> None:
    token = "ghp_" + "a1B2c3D4e5F6g7H8i9J0" + "k1L2m3N4o5P6q7R8"
    told = [page("en", f"p{n}.md", f"Write to jane{n}@corp.io.\n\nUse `{token}` here.\n") for n in range(20)]
    texts = own_texts(told, [], params(), near=0.8)
    everything = "\n".join([*texts.train, *texts.valid])
    assert "corp.io" not in everything and everything.count("name@example.com") == 20 and "ghp_" not in everything
    assert texts.counts["passages"]["secret"] == 20 and texts.counts["masked"] == {"email": 20}


@pytest.mark.parametrize(
    ("pages", "changes"),
    [
        pytest.param([], {}, id="no pages"),
        pytest.param(site(1), {}, id="one page"),
        pytest.param(site(9), {"leave_out": ["*"]}, id="all left out"),
        pytest.param([page("zh", f"p{n}.md", "<!-- Nothing else. -->\n") for n in range(9)], {}, id="no text"),
    ],
)
def test_nothing_to_read_is_said(pages: list[dict[str, str]], changes: dict[str, Any]) -> None:
    with pytest.raises(
        DoctuneError, match="wanted pages to adapt the base to and pages to measure it on, got"
    ) as error:
        own_texts(pages, [], params(**changes), near=0.8)
    assert "\n" not in str(error.value)


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bases")
    made = {"marian": tiny_marian(folder / "marian"), "qwen": tiny_qwen(folder / "qwen")}
    (made["qwen"] / "LICENSE").write_text("Apache-2.0\n", encoding="utf-8")
    (made["qwen"] / "README.md").write_text("# Random weights\n", encoding="utf-8")
    return made


def test_documents_become_rows_without_losing_a_token(bases: dict[str, Path], tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    from doctune.adapting.run import rows_of_tokens

    tokenizer = AutoTokenizer.from_pretrained(bases["qwen"])
    documents = ["调度器选择节点。\n\nThe scheduler chooses a node.", "Pod 已就绪。", "`kubectl get pods`"]
    examples = rows_of_tokens(tokenizer, documents, 16, tmp_path)
    rows = [example.input_ids.tolist() for example in examples]
    assert {len(row) for row in rows[:-1]} == {16} and 2 <= len(rows[-1]) <= 16
    assert [example.labels.tolist() for example in examples] == [[IGNORED, *row[1:]] for row in rows]
    assert examples.target_tokens() == sum(map(len, rows)) - len(rows)
    stream = [token for row in rows for token in row]
    text = tokenizer.decode(stream)
    assert text == "".join(document + tokenizer.eos_token for document in documents)
    shorter = rows_of_tokens(tokenizer, documents, len(stream) - 1, tmp_path)
    assert [e.input_ids.tolist() for e in shorter] == [stream[:-1]], "one token predicts nothing"


def test_documents_are_tokenised_once(bases: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import AutoTokenizer

    from doctune.adapting.run import rows_of_tokens
    from doctune.training.tokens import DocumentEncoder

    tokenizer = AutoTokenizer.from_pretrained(bases["qwen"])
    documents = ["调度器选择节点。", "Pod 已就绪。"]
    first = rows_of_tokens(tokenizer, documents, 8, tmp_path)

    def again(self: DocumentEncoder, row: dict[str, str]) -> None:
        raise AssertionError(f"tokenised a second time: {row}")

    monkeypatch.setattr(DocumentEncoder, "__call__", again)
    kept = rows_of_tokens(tokenizer, documents, 8, tmp_path)
    assert [e.input_ids.tolist() for e in kept] == [e.input_ids.tolist() for e in first]
    with pytest.raises(AssertionError, match="tokenised a second time"):
        rows_of_tokens(tokenizer, [*documents, "Job 已完成。"], 8, tmp_path)


@pytest.mark.parametrize("own_end", [False, True], ids=["a tokenizer that adds no end", "one that does"])
def test_a_document_ends_once_and_markers_in_it_are_text(bases: dict[str, Path], own_end: bool) -> None:
    from transformers import AutoTokenizer

    from doctune.training.tokens import DocumentEncoder

    tokenizer = AutoTokenizer.from_pretrained(bases["qwen"])
    if own_end:
        from tokenizers.processors import TemplateProcessing

        end = tokenizer.eos_token
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
            single=f"$A {end}", special_tokens=[(end, tokenizer.eos_token_id)]
        )
    text = f"标记 {tokenizer.eos_token} 只是文字。"
    ids = list(DocumentEncoder(tokenizer)({"text": text}).input_ids)
    assert ids.count(tokenizer.eos_token_id) == 1 and ids[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(ids[:-1]) == text


def test_accumulation_and_checkpointing_reach_the_run(bases: dict[str, Path], tmp_path: Path) -> None:
    from doctune.adapting.run import adapt

    texts = own_texts(site(30), [], params(), near=0.8)
    usual, saving, fewer = (
        adapt(bases["qwen"], texts, params(epochs=1.0, **changes), tmp_path / name, [])
        for name, changes in (
            ("usual", {}),
            ("saving", {"gradient_checkpointing": True}),
            ("fewer", {"gradient_accumulation": 2}),
        )
    )
    assert saving.loaded.model.is_gradient_checkpointing and not usual.loaded.model.is_gradient_checkpointing
    assert saving.facts["valid_loss"] == pytest.approx(usual.facts["valid_loss"], abs=1e-4)
    assert fewer.facts["steps"] == -(-usual.facts["steps"] // 2) > 1


def make_project(folder: Path, base: Path, **changes: Any) -> dict[str, Path]:
    """The stage's inputs below the current folder, and its options."""
    from doctune.params import configure

    (folder / "presets").symlink_to(ROOT / "presets")
    shutil.copyfile(ROOT / "params.yaml", folder / "params.yaml")
    configure(None, [f"adapt.{key}={json.dumps(value)}" for key, value in changes.items()])
    if not (folder / "models/fetched").exists():
        shutil.copytree(base, folder / "models/fetched")
    write_pages(folder / "data/pages.parquet", [Page(**row, revision="a" * 40) for row in site(30)])
    for name, n in (("train", 2), ("valid", 1), ("test", 0)):
        write_jsonl(folder / f"data/splits/{name}.jsonl", [{"page": f"p{n}.md", "en": f"Only {n}.", "zh": f"仅 {n}。"}])
    return {
        "base": Path("models/fetched"),
        "pages": Path("data/pages.parquet"),
        "splits": Path("data/splits"),
        "out": Path("models/base"),
        "report": Path("reports/adapt"),
    }


def test_without_epochs_the_base_is_handed_on_byte_for_byte(
    bases: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks.adapt import main

    monkeypatch.chdir(tmp_path)
    options = make_project(tmp_path, bases["marian"])
    main(**options)
    names = sorted(file.name for file in bases["marian"].iterdir())
    assert sorted(file.name for file in options["out"].iterdir()) == names
    for name in names:
        there, here = options["base"] / name, options["out"] / name
        assert here.read_bytes() == there.read_bytes() and here.stat().st_ino != there.stat().st_ino, name
    assert json.loads((options["report"] / "adapt.json").read_text(encoding="utf-8")) == {"epochs": 0.0}


def test_handing_on_imports_no_torch() -> None:
    import subprocess
    import sys

    code = "import sys, tasks.adapt; print(sorted({'torch', 'transformers', 'mlflow', 'pyarrow'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_encoder_decoder_is_refused_before_the_first_step(
    bases: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks.adapt import main

    monkeypatch.chdir(tmp_path)
    options = make_project(tmp_path, bases["marian"], **KNOBS)
    with pytest.raises(DoctuneError, match=r"wants a causal base, but models/fetched is an encoder-decoder \(marian\)"):
        main(**options)
    assert not options["out"].exists() and not options["report"].exists()


def test_rows_longer_than_the_positions_are_refused(bases: dict[str, Path], tmp_path: Path) -> None:
    from doctune.adapting.run import adapt

    texts = own_texts(site(30), [], params(), near=0.8)
    with pytest.raises(DoctuneError, match="adapt.max_length is 1024, but the base has 512 positions"):
        adapt(bases["qwen"], texts, params(max_length=1024), tmp_path, [])


def test_the_perplexity_is_that_of_the_model_s_own_loss(bases: dict[str, Path], tmp_path: Path) -> None:
    """Rows of a few tokens, where one that nothing predicts would weigh."""
    import math

    import torch

    from doctune.adapting.run import adapt, rows_of_tokens
    from doctune.models import load_model

    texts = own_texts(site(30), [], params(), near=0.8)
    knobs = params(max_length=16, epochs=0.1, precision="fp32")
    told = adapt(bases["qwen"], texts, knobs, tmp_path, []).facts["valid_perplexity"]["before"]
    base = load_model(bases["qwen"])
    base.model.eval()
    total = count = 0
    for row in rows_of_tokens(base.tokenizer, texts.valid, 16, tmp_path / "again"):
        ids = torch.tensor([row.input_ids.tolist()])
        with torch.no_grad():
            total += base.model(input_ids=ids, labels=ids).loss.item() * (ids.shape[1] - 1)
        count += ids.shape[1] - 1
    assert told == pytest.approx(math.exp(total / count), rel=1e-3)


def test_a_base_that_scales_its_logits_is_refused_before_hours_of_training(tmp_path: Path) -> None:
    from transformers import AutoTokenizer, GraniteConfig, GraniteForCausalLM

    from doctune.adapting.run import adapt

    base = tiny_qwen(tmp_path / "base")
    size = len(AutoTokenizer.from_pretrained(base))
    config = GraniteConfig(vocab_size=size, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=2, logits_scaling=8.0)  # fmt: skip
    (base / "model.safetensors").unlink()
    GraniteForCausalLM(config).save_pretrained(base)
    texts = own_texts(site(30), [], params(), near=0.8)
    with pytest.raises(DoctuneError, match="changes its logits after the output layer"):
        adapt(base, texts, params(), tmp_path / "work", [])
    assert not list((tmp_path / "work").glob("checkpoint-*"))


def test_what_cannot_fit_is_refused(bases: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from doctune.adapting.run import adapt
    from doctune.training import checks

    monkeypatch.setattr(checks, "available_memory", lambda processes: 10**6)
    texts = own_texts(site(30), [], params(), near=0.8)
    with pytest.raises(DoctuneError, match="adapt.gradient_checkpointing: true, or use a smaller base"):
        adapt(bases["qwen"], texts, params(), tmp_path, [])


def test_a_run_of_the_stage_learns_the_pages_and_is_on_record(
    bases: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from doctune.models import load_model
    from tasks.adapt import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    options = make_project(tmp_path, bases["qwen"], **KNOBS)
    main(**options)
    report = json.loads((options["report"] / "adapt.json").read_text(encoding="utf-8"))
    assert report["texts"]["pages"]["of_test_or_valid"] == 4
    perplexity = report["valid_perplexity"]
    assert perplexity["after"] < 0.5 * perplexity["before"]
    assert f"perplexity {perplexity['before']} before, {perplexity['after']} after" in capsys.readouterr().out

    curve = [
        row for row in csv.DictReader((options["report"] / "curves.csv").open(encoding="utf-8")) if row["eval_loss"]
    ]
    assert curve[0]["step"] == "0" and float(curve[-1]["eval_loss"]) < float(curve[0]["eval_loss"])
    run = find_run(connect(), report["adapt_key"])
    assert run is not None and run.info.run_name == f"adapt-{report['adapt_key'][:8]}"
    assert run.data.params["adapt.learning_rate"] == "0.002" and "eval_loss" in run.data.metrics

    fetched, adapted = options["base"], options["out"]
    assert (adapted / "LICENSE").exists() and not (adapted / "README.md").exists()
    for name in ("tokenizer.json", "doctune.json"):
        assert (adapted / name).read_bytes() == (fetched / name).read_bytes()
    assert hash_path(adapted / "model.safetensors") != hash_path(fetched / "model.safetensors")
    assert load_model(adapted).model.num_parameters() == load_model(fetched).model.num_parameters()


@pytest.mark.slow
def test_a_killed_run_ends_where_an_unbroken_one_does(bases: dict[str, Path], tmp_path: Path) -> None:
    from transformers import TrainerCallback

    from doctune.adapting.run import adapt

    class Killed(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == 6:
                raise KeyboardInterrupt

    texts = own_texts(site(30), [], params(), near=0.8)
    whole = adapt(bases["qwen"], texts, params(), tmp_path / "whole", [])
    with pytest.raises(KeyboardInterrupt):
        adapt(bases["qwen"], texts, params(), tmp_path / "cut", [Killed()])
    resumed = adapt(bases["qwen"], texts, params(), tmp_path / "cut", [])
    assert whole.facts["valid_perplexity"] == resumed.facts["valid_perplexity"]
    assert whole.facts["steps"] == resumed.facts["steps"] > 6


@pytest.mark.slow
def test_two_processes_read_as_one_that_accumulates(bases: dict[str, Path], tmp_path: Path) -> None:
    """The tolerance is that of sums in another order: 1e-4 nats."""
    import os
    import subprocess
    import sys

    losses = []
    for name, changes in (("one", {"gradient_accumulation": 2}), ("two", {"processes": 2})):
        folder = tmp_path / name
        folder.mkdir()
        with contextlib.chdir(folder):
            options = make_project(folder, bases["qwen"], **KNOBS | changes)
        command = [part for key, value in options.items() for part in (f"--{key}", str(value))]
        done = subprocess.run(
            [sys.executable, "-m", "tasks.adapt", *command],
            cwd=folder,
            env={k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"} | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=900,
        )
        assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
        assert done.stdout.count("pages to learn from") == done.stdout.count("adapted in") == 1
        with (folder / options["report"] / "curves.csv").open(encoding="utf-8") as file:
            losses.append([float(row["eval_loss"]) for row in csv.DictReader(file) if row["eval_loss"]])
    assert len(losses[0]) > 2 and losses[0][-1] < losses[0][0]
    assert losses[0] == pytest.approx(losses[1], rel=0, abs=1e-4)
