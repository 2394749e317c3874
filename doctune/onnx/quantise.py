"""Float32 graphs to the int8 folder that ships.

    quantise(fp32, Path("models/onnx"), TranslateParams(beams=1, batch_tokens=4096, max_new_tokens=256))

    models/onnx/   encoder_model.onnx, decoder_model_merged.onnx  (causal: model.onnx)
                   config.json, generation_config.json, tokenizer files, doctune.json
                   shipped.json    {"precision": "int8", "decoding": {...}, "files": {"encoder_model.onnx": "<sha256>", ...}}

Weights of matrix products and embedding tables are int8 with a scale a column or row; activations are quantised while it
runs. The two decoders, for a first token and for later ones, are merged after that: equal int8 weights are stored once.
"""

import shutil
from pathlib import Path

from doctune.files import whole_dir, write_json
from doctune.onnx.embeddings import shrink_embeddings
from doctune.onnx.export import quiet
from doctune.onnx.runtime import DECODER, MERGED, SHIPPED_FILE, WITH_PAST, Shipped, sha256
from doctune.translation import TranslateParams

PROTOBUF_LIMIT = 1 << 31  # bytes; a graph from here on keeps its weights in a file beside it


def quantise(fp32: Path, out: Path, decoding: TranslateParams) -> None:
    """Write the int8 model of the graphs that export_onnx left in `fp32` as one whole folder that remembers how to decode."""
    with whole_dir(out) as tmp, quiet():
        for file in sorted(fp32.iterdir()):
            if file.suffix == ".onnx":
                quantise_graph(file, tmp / file.name)
            elif ".onnx" not in file.name:  # the weights beside a large graph
                shutil.copyfile(file, tmp / file.name)
        if (tmp / WITH_PAST).is_file():
            _merge_decoders(tmp)
        facts = Shipped(
            precision="int8", decoding=decoding, files={file.name: sha256(file) for file in sorted(tmp.iterdir())}
        )
        write_json(tmp / SHIPPED_FILE, facts.model_dump())


def quantise_graph(source: Path, target: Path) -> None:
    """Embedding tables and the constant weights of MatMul nodes to int8."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(source)
    shrink_embeddings(model.graph)
    smaller = target.with_name(f"{target.name}.tables")  # through a file: weights beyond protobuf's limit stay in reach
    onnx.save(model, smaller, save_as_external_data=_bytes(model) >= PROTOBUF_LIMIT, location=f"{smaller.name}.data")
    large = _bytes(model) // 3 >= PROTOBUF_LIMIT
    del model
    quantize_dynamic(
        smaller, target, op_types_to_quantize=["MatMul"], per_channel=True, reduce_range=False, weight_type=QuantType.QInt8,
        use_external_data_format=large,
    )
    for file in target.parent.glob(f"{smaller.name}*"):
        file.unlink()


def _merge_decoders(folder: Path) -> None:
    from optimum.onnx import merge_decoders

    parts = folder / DECODER, folder / WITH_PAST
    merge_decoders(*parts, save_path=folder / MERGED, strict=False)  # the second has no cross-attention keys to give
    for part in parts:
        part.unlink()


def _bytes(model: object) -> int:
    return sum(len(tensor.raw_data) for tensor in model.graph.initializer)  # type: ignore[attr-defined]
