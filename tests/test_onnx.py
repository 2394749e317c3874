"""Export to ONNX: parity with PyTorch, int8 in every part of the graphs, the folder that ships, the stage's verdict."""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from doctune.errors import DoctuneError
from doctune.files import hash_path, read_json, write_json, write_jsonl
from doctune.models import load_model, merged, save_model
from doctune.onnx import ExportParams, export_onnx, int8, load, quantise
from doctune.onnx.embeddings import shrink_embeddings
from doctune.onnx.parity import Parity, check, choose, compare
from doctune.onnx.runtime import DECODER, ENCODER, MERGED, open_graphs
from doctune.translation import TranslateParams, load_translator, make_translator
from tasks.export import export
from tests.tiny import PAIRS, ROWS, tiny_marian, tiny_qwen

SOURCES = [en for en, _ in PAIRS]
REFERENCES = [zh for _, zh in PAIRS]
DECODING = TranslateParams(beams=1, batch_tokens=512, max_new_tokens=24)
LIMITS = ExportParams(min_identical=0.99, max_int8_bleu_loss=1.0, parity_rows=400, trim_vocabulary=False)


@dataclass(frozen=True)
class Made:
    """A base that knows PAIRS, its float32 graphs, what ships, and PyTorch's translations of SOURCES."""

    base: Path
    fp32: Path
    int8: Path
    answers: list[str]


def make(folder: Path, build: Any, steps: int) -> Made:
    base = build(folder / "base", steps=steps)
    export_onnx(load_model(base), folder / "fp32")
    quantise(folder / "fp32", folder / "int8", DECODING)
    answers = load_translator(base, None, DECODING).translate(SOURCES)
    return Made(base, folder / "fp32", folder / "int8", answers)


@pytest.fixture(scope="module")
def marian(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make(tmp_path_factory.mktemp("marian"), tiny_marian, 150)


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make(tmp_path_factory.mktemp("qwen"), tiny_qwen, 150)


@pytest.fixture(params=["marian", "qwen"])
def made(request: pytest.FixtureRequest) -> Made:
    return request.getfixturevalue(request.param)


@pytest.mark.slow
def test_fp32_graphs_translate_as_pytorch_does(made: Made) -> None:
    assert len(set(made.answers)) > len(PAIRS) // 2, (
        "the model has learnt too little to tell a good export from a bad one"
    )
    assert open_graphs(made.fp32, DECODING).translate(SOURCES) == made.answers


@pytest.mark.slow
@pytest.mark.parametrize("beams", [1, 3])
def test_beams_of_the_int8_model(marian: Made, beams: int) -> None:
    params = DECODING.model_copy(update={"beams": beams})
    expected = load_translator(marian.base, None, params).translate(SOURCES)
    int8 = open_graphs(marian.int8, params).translate(SOURCES)
    assert compare(expected, expected, expected, int8, expected).bleu_int8 > 90


@pytest.mark.slow
def test_a_text_longer_than_the_positions_is_cut_there_and_said(
    marian: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    for translator in (load_translator(marian.base, None, DECODING), load(marian.int8)):
        positions = translator.model.config.max_position_embeddings
        capsys.readouterr()
        translator.translate(SOURCES[:1])
        assert not capsys.readouterr().err
        assert len(translator.translate([SOURCES[0], "pod " * (positions + 1)])) == 2
        assert f"1 of 2 texts are longer than the {positions} tokens that this model reads" in capsys.readouterr().err


@pytest.mark.slow
def test_int8_keeps_bleu_within_the_limit(made: Made) -> None:
    parity = compare(made.answers, made.answers, made.answers, load(made.int8).translate(SOURCES), made.answers)
    assert parity.bleu_loss < 10, "24 short rows: a word is worth more than a point"


@pytest.mark.slow
def test_quantisation_reaches_both_branches_of_the_merged_decoder(marian: Made) -> None:
    import onnx

    node = onnx.load(marian.int8 / MERGED).graph.node[0]
    branches = {
        a.name: Counter(n.op_type for n in a.g.node) for a in node.attribute if a.type == onnx.AttributeProto.GRAPH
    }
    # One layer: self-attention 4, cross-attention 4 (keys and values are the past's after the first token), feed-forward 2, output.
    assert {name: ops["MatMulInteger"] for name, ops in branches.items()} == {"else_branch": 11, "then_branch": 9}
    assert {name: ops["MatMul"] for name, ops in branches.items()} == {"else_branch": 4, "then_branch": 4}, (
        "attention only"
    )


@pytest.mark.slow
def test_int8_folder_has_no_float_matrices_and_no_float_graphs(made: Made) -> None:
    import onnx

    from doctune.onnx.embeddings import SMALLEST

    graphs = sorted(made.int8.glob("*.onnx"))
    assert [g.name for g in graphs] in ([MERGED, ENCODER], ["model.onnx"])
    for graph in graphs:
        tensors = onnx.load(graph).graph.initializer
        large = [
            t.name
            for t in tensors
            if t.data_type == onnx.TensorProto.FLOAT and len(t.dims) == 2 and t.dims[0] * t.dims[1] >= SMALLEST
        ]
        assert large == []
    # Scales and node names weigh much in graphs this small; of a real model a quarter is left.
    first = made.fp32 / (DECODER if (made.fp32 / DECODER).is_file() else "model.onnx")
    assert (made.int8 / graphs[0].name).stat().st_size < 0.75 * first.stat().st_size


@pytest.mark.slow
def test_export_writes_the_same_bytes_again(marian: Made, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from doctune.models import load_model; from doctune.onnx import export_onnx, quantise\n"
        "from doctune.translation import TranslateParams\n"
        "base, out = map(Path, sys.argv[1:]); export_onnx(load_model(base), out / 'fp32')\n"
        "quantise(out / 'fp32', out / 'int8', TranslateParams(beams=1, batch_tokens=512, max_new_tokens=24))"
    )
    run(code, marian.base, tmp_path, PYTHONHASHSEED="7")
    assert hash_path(tmp_path / "int8") == hash_path(marian.int8)


@pytest.mark.slow
def test_weights_beyond_protobufs_limit_lie_beside_the_graph(
    qwen: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(int8, "PROTOBUF_LIMIT", 20_000)
    quantise(qwen.fp32, tmp_path / "int8", DECODING)
    beside = tmp_path / "int8/model.onnx.data"
    assert sorted(f.name for f in (tmp_path / "int8").glob("*.onnx*")) == ["model.onnx", beside.name]
    assert load(tmp_path / "int8").translate(SOURCES) == load(qwen.int8).translate(SOURCES)
    beside.write_bytes(beside.read_bytes()[:-1])
    with pytest.raises(DoctuneError, match=r"model.onnx.data is missing or not the file that was exported"):
        load(tmp_path / "int8")


@pytest.mark.slow
def test_shipped_folders_translate_in_a_fresh_process_without_network(marian: Made, qwen: Made, tmp_path: Path) -> None:
    moved = [shutil.copytree(made.int8, tmp_path / name) for name, made in (("marian", marian), ("qwen", qwen))]
    code = (
        "import socket, sys\n"
        "def refuse(*_): raise AssertionError('asked for the network')\n"
        "socket.socket.connect = refuse\n"
        "from pathlib import Path; from doctune.onnx import load; import json\n"
        "texts = json.loads(sys.argv[1])\n"
        "print(json.dumps([load(Path(folder)).translate(texts) for folder in sys.argv[2:]]))"
    )
    done = run(code, json.dumps(SOURCES), *moved, HF_HUB_OFFLINE="1")
    assert json.loads(done.stdout) == [load(made.int8).translate(SOURCES) for made in (marian, qwen)]
    others = [line for line in done.stderr.splitlines() if "translations are cut at 24 tokens" not in line]
    assert not others, "warnings of libraries would reach whoever serves the model"


@pytest.mark.slow
@pytest.mark.parametrize("build", [tiny_marian, tiny_qwen], ids=["marian", "qwen"])
def test_merged_adapter_equals_the_adapter(build: Any, tmp_path: Path) -> None:
    import torch

    from doctune.training.methods import add_adapter
    from doctune.training.params import LoraParams

    base = build(tmp_path / "base")
    loaded = load_model(base)
    model = add_adapter(loaded.model, LoraParams(r=4, alpha=8, dropout=0.0, targets=["q_proj", "v_proj"]))
    torch.manual_seed(3)
    for name, weight in model.named_parameters():
        if "lora_B" in name:  # zero at birth: an adapter that does nothing
            torch.nn.init.normal_(weight, std=0.5)
    save_model(loaded._replace(model=model), tmp_path / "tuned")
    tuned = load_model(tmp_path / "tuned", base)
    with pytest.raises(DoctuneError, match="merge it first"):
        export_onnx(tuned, tmp_path / "never")

    expected = make_translator(tuned._replace(model=tuned.model.eval()), DECODING).translate(SOURCES)
    export_onnx(merged(load_model(tmp_path / "tuned", base)), tmp_path / "fp32")
    same = sum(
        a == b for a, b in zip(open_graphs(tmp_path / "fp32", DECODING).translate(SOURCES), expected, strict=True)
    )
    assert same >= len(SOURCES) - 1, "of random weights; one near tie is allowed"
    assert load_translator(base, None, DECODING).translate(SOURCES) != expected, "the adapter changes nothing"


def stage_inputs(made: Made, folder: Path, answers: list[str]) -> dict[str, Any]:
    write_jsonl(folder / "test.jsonl", ROWS)
    # fewer, so that a trimmed vocabulary lacks pieces of the test rows, as it does in life
    write_jsonl(folder / "train.jsonl", ROWS[:20])
    hypotheses = ({"id": row["id"], "en": row["en"], "hyp": answer} for row, answer in zip(ROWS, answers, strict=True))
    write_jsonl(folder / "tuned.jsonl", hypotheses)
    return {
        "base": made.base,
        "model": made.base,
        "splits": folder,
        "test": folder / "test.jsonl",
        "hypotheses": folder / "tuned.jsonl",
        "onnx": folder / "onnx",
        "decoding": DECODING,
    }


@pytest.mark.slow
@pytest.mark.parametrize("trimmed", [False, True], ids=["whole", "trimmed"])
def test_stage_reports_parity_and_ships_int8_only(
    marian: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trimmed: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    # trimmed by fewer rows than are translated, four answers of a model this small change, and cost 12 BLEU
    limits = LIMITS.model_copy(update={"max_int8_bleu_loss": 25.0 if trimmed else 10.0, "trim_vocabulary": trimmed})
    facts = export(**stage_inputs(marian, tmp_path, marian.answers), params=limits)
    assert facts["rows"] == len(ROWS) and facts["identical_fp32"] == 1.0
    assert facts["bleu_loss_int8"] == pytest.approx(facts["bleu_torch"] - facts["bleu_int8"], abs=2e-4)
    assert 0 < facts["size_int8_mb"] < facts["size_fp32_mb"]
    assert facts["onnx_hash"] == hash_path(tmp_path / "onnx")
    assert {f.name for f in (tmp_path / "onnx").iterdir()} == {f.name for f in marian.int8.iterdir()}
    assert not (tmp_path / ".doctune/export/fp32").exists()


@pytest.mark.slow
def test_stage_fails_with_the_numbers_when_a_weight_is_wrong(
    marian: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PyTorch's translations come from the right weights, the exported model has one wrong: parity must see it."""
    import torch

    monkeypatch.chdir(tmp_path)
    loaded = load_model(marian.base)
    with torch.no_grad():
        loaded.model.model.decoder.layers[0].fc2.weight.mul_(-1)
    save_model(loaded, tmp_path / "wrong")
    inputs = stage_inputs(marian, tmp_path, marian.answers) | {"model": tmp_path / "wrong"}
    with pytest.raises(
        DoctuneError,
        match=r"^export: fp32 ONNX gives the same output as PyTorch on \d+\.\d % of 24 rows, wanted at least 99 %",
    ):
        export(**inputs, params=LIMITS)
    assert not (tmp_path / "onnx").exists(), "a model that failed must not ship"


@pytest.mark.parametrize(
    ("parity", "message"),
    [
        pytest.param(Parity(400, 396, 30.0, 29.0, 40.0), None, id="both at their limit"),
        pytest.param(Parity(400, 400, 30.0, 31.5, 40.0), None, id="int8 better"),
        pytest.param(
            Parity(400, 389, 30.0, 30.0, 40.0),
            "export: fp32 ONNX gives the same output as PyTorch on 97.2 % of 400 rows, wanted at least 99 %",
            id="fp32 differs",
        ),
        pytest.param(
            Parity(150, 150, 41.2, 39.57, 40.0),
            "export: int8 ONNX loses 1.63 BLEU (41.20 to 39.57) on 150 rows, wanted at most 1",
            id="int8 loses",
        ),
        pytest.param(
            Parity(10, 0, 41.2, 0.0, 0.0),
            "export: fp32 ONNX gives the same output as PyTorch on 0.0 % of 10 rows, wanted at least 99 %; "
            "int8 ONNX loses 41.20 BLEU (41.20 to 0.00) on 10 rows, wanted at most 1",
            id="both",
        ),
    ],
)
def test_verdict(parity: Parity, message: str | None) -> None:
    if message is None:
        check(parity, LIMITS)
    else:
        with pytest.raises(DoctuneError) as error:
            check(parity, LIMITS)
        assert str(error.value) == message


def test_chosen_rows_depend_on_ids_only() -> None:
    assert choose(ROWS, 400) == list(range(len(ROWS)))
    chosen = {ROWS[i]["id"] for i in choose(ROWS, 7)}
    shuffled = ROWS[11:] + ROWS[:11]
    assert len(chosen) == 7 and {shuffled[i]["id"] for i in choose(shuffled, 7)} == chosen
    assert {ROWS[i]["id"] for i in choose(ROWS, 6)} < chosen, "more rows must not mean other rows"


def test_compare_counts_identical_rows_and_scores_chinese_by_character() -> None:
    torch, fp32, int8 = (
        ["Pod 正在运行。", "删除该卷。"],
        ["Pod 正在运行。", "删除卷。"],
        ["Pod 正在运行。", "删除该卷。"],
    )
    parity = compare(torch, torch, fp32, int8, ["Pod 正在运行。", "删除该卷。"])
    assert (parity.rows, parity.identical) == (2, 1)
    assert parity.bleu_torch == parity.bleu_int8 == pytest.approx(100) and parity.chrf_int8 == pytest.approx(100)


def test_a_trimmed_model_is_compared_with_itself_and_scored_beside_the_whole() -> None:
    whole, trimmed = ["Pod 正在运行。", "删除该卷。"], ["Pod 在运行。", "删除卷。"]
    parity = compare(whole, trimmed, trimmed, trimmed, whole)
    assert parity.identical == 2 and parity.bleu_loss > 10


def test_compare_scores_what_is_normalised_and_calls_identical_what_is() -> None:
    answers, references = ["Pod 正在运⾏。", "删除\u200b该卷。"], ["Pod 正在运行。", "删除该卷。"]
    parity = compare(answers, answers, references, answers, references)
    assert parity.identical == 0 and parity.bleu_torch == parity.bleu_int8 == pytest.approx(100)


def test_embedding_tables_shrink_to_a_quarter_and_keep_their_rows() -> None:
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper
    from onnxruntime import InferenceSession

    random = np.random.default_rng(5)
    table = (random.normal(size=(300, 64)) * random.lognormal(sigma=2, size=(300, 1))).astype(np.float32)
    table[7] = 0
    nodes = [helper.make_node("Gather", ["table", "ids"], ["found"])]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", "length"])],
        [helper.make_tensor_value_info("found", TensorProto.FLOAT, ["batch", "length", 64])],
        [numpy_helper.from_array(table, "table")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    assert shrink_embeddings(model.graph) == 1
    onnx.checker.check_model(model)
    assert sum(len(t.raw_data) for t in model.graph.initializer) == 300 * 64 + 300 * 4
    ids = np.array([[0, 7, 299], [12, 12, 3]])
    (found,) = InferenceSession(model.SerializeToString()).run(None, {"ids": ids})
    worst = np.abs(table[ids]).max(axis=-1, keepdims=True) / 254
    assert found.shape == (2, 3, 64) and (np.abs(found - table[ids]) <= worst * 1.001).all()


def test_a_table_that_is_also_a_matrix_stays() -> None:
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["table", "ids"], ["found"]),
            helper.make_node("MatMul", ["x", "table"], ["y"]),
            helper.make_node("Gather", ["columns", "ids"], ["column"], axis=1),
        ],
        "g",
        [
            helper.make_tensor_value_info("ids", TensorProto.INT64, [1]),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 300]),
        ],
        [],
        [numpy_helper.from_array(np.ones((300, 64), np.float32), name) for name in ("table", "columns")],
    )
    before = graph.SerializeToString()
    assert shrink_embeddings(graph) == 0 and graph.SerializeToString() == before


def broken(folder: Path, how: str) -> None:
    facts = read_json(folder / "shipped.json")
    match how:
        case "empty":
            shutil.rmtree(folder)
            folder.mkdir()
        case "no graph":
            (folder / "model.onnx").unlink()
        case "changed":
            (folder / "model.onnx").write_bytes(b"other")
        case "outside":
            write_json(folder / "shipped.json", facts | {"files": {"../model.onnx": "0" * 64}})
        case "unknown fact":
            write_json(folder / "shipped.json", facts | {"code": "import os"})
        case "no ONNX":
            write_json(folder / "shipped.json", facts | {"files": {}})
            (folder / "model.onnx").write_bytes(b"no protobuf")
        case "no weights listed":
            write_json(folder / "shipped.json", facts | {"files": {}})
            (folder / "model.onnx").unlink()


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("empty", r"holds no exported model \(it has no shipped.json\)"),
        ("no graph", r"model.onnx is missing or not the file that was exported"),
        ("changed", r"model.onnx is missing or not the file that was exported"),
        ("outside", r"model.onnx is missing or not the file that was exported"),
        ("unknown fact", r"code: unknown key"),
        ("no ONNX", r"cannot be opened as an ONNX model"),
        ("no weights listed", r"has no model.onnx, so it holds no ONNX model"),
    ],
)
def test_load_refuses_a_folder_that_is_not_whole(how: str, message: str, tmp_path: Path) -> None:
    from doctune.onnx.runtime import sha256

    folder = tiny_qwen(tmp_path / "onnx")
    (folder / "model.onnx").write_bytes(b"a graph, for once")
    facts = {
        "precision": "int8",
        "decoding": DECODING.model_dump(),
        "files": {"model.onnx": sha256(folder / "model.onnx")},
    }
    write_json(folder / "shipped.json", facts)
    broken(folder, how)
    with pytest.raises(DoctuneError, match=message) as error:
        load(folder)
    assert "\n" not in str(error.value)


def run(code: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=Path(__file__).parents[1],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=1500,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done


def test_loaded_is_not_needed_to_know_the_params() -> None:
    """doctune.params imports ExportParams for every command: that must not cost the import of torch or onnx."""
    run(
        "import sys, doctune.onnx, tasks.export; heavy = {'torch', 'onnx', 'onnxruntime', 'transformers', 'mlflow'} & set(sys.modules); assert not heavy, heavy"
    )
