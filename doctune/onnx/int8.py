"""Float32 graphs to the int8 folder that ships.

    quantise(fp32, Path("models/onnx"), TranslateParams(beams=1, batch_tokens=4096, max_new_tokens=256))

    models/onnx/   encoder_model.onnx, decoder_model_merged.onnx  (causal: model.onnx)
                   config.json, generation_config.json, tokenizer files, doctune.json
                   shipped.json    {"precision": "int8", "decoding": {...}, "files": {"model.onnx": "<sha256>", ...}}

Weights of matrix products and embedding tables are int8, with a scale for each column or row; activations are quantised
while it runs. The two decoders, for the first token and for later ones, are merged last: equal weights are stored once.
"""

import shutil
from pathlib import Path
from typing import Any

from doctune.files import write_json
from doctune.onnx.embeddings import shrink_embeddings
from doctune.onnx.export import quiet
from doctune.onnx.runtime import DECODER, MERGED, SHIPPED_FILE, WITH_PAST, Shipped, sha256
from doctune.translation import TranslateParams

PROTOBUF_LIMIT = 2_000_000_000  # bytes, and a little less; a larger graph keeps its weights in a file beside it


def quantise(fp32: Path, out: Path, decoding: TranslateParams) -> None:
    """Write the int8 model of the graphs that export_onnx left in `fp32` into the folder `out`.

    The folder remembers `decoding`, so that what is served is what was tested.
    """
    out.mkdir(parents=True, exist_ok=True)
    with quiet():
        for file in sorted(fp32.iterdir()):
            if file.suffix == ".onnx":
                quantise_graph(file, out / file.name)
            elif ".onnx" not in file.name:  # other than the weights beside a large graph
                shutil.copyfile(file, out / file.name)
        if (out / WITH_PAST).is_file():
            _merge_decoders(out)
    files = {file.name: sha256(file) for file in sorted(out.iterdir())}
    write_json(out / SHIPPED_FILE, Shipped(precision="int8", decoding=decoding, files=files).model_dump())


def quantise_graph(source: Path, target: Path) -> None:
    """Embedding tables and the constant weights of MatMul nodes to int8."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(source)
    shrink_embeddings(model.graph)
    size = weight_bytes(model)
    # Through a file, as the quantiser infers shapes in one: protobuf cannot hold a large model in one message.
    smaller = target.with_name(f"{target.stem}.tables")
    weights = f"{smaller.name}.data"
    onnx.save(model, smaller, save_as_external_data=size >= PROTOBUF_LIMIT, location=weights)
    del model
    quantize_dynamic(
        smaller,
        target,
        op_types_to_quantize=["MatMul"],
        per_channel=True,
        weight_type=QuantType.QInt8,
        reduce_range=True,  # 7 bits: with 8, processors without VNNI overflow on sums of large products, and say nothing
        use_external_data_format=size // 4 >= PROTOBUF_LIMIT,
    )
    smaller.unlink()
    smaller.with_name(weights).unlink(missing_ok=True)


def weight_bytes(model: Any) -> int:
    return sum(len(tensor.raw_data) for tensor in model.graph.initializer)


def _merge_decoders(folder: Path) -> None:
    import onnx
    from optimum.onnx import merge_decoders

    models = [onnx.load(folder / name) for name in (DECODER, WITH_PAST)]
    for model in models:
        _name_by_content(model.graph)
    # Not strict: the second decoder has no cross-attention keys to give.
    merge_decoders(*models, save_path=folder / MERGED, strict=False)
    for file in [file for name in (DECODER, WITH_PAST) for file in folder.glob(f"{name}*")]:
        file.unlink()


def _name_by_content(graph: Any) -> None:
    """Give equal tensors equal names. The merge picks the name of a shared one out of a set: its bytes would vary by run."""
    import hashlib

    from onnx import numpy_helper

    names, kept = {}, set()
    for tensor in list(graph.initializer):
        values = numpy_helper.to_array(tensor)
        digest = hashlib.sha256(f"{tensor.data_type} {values.shape}".encode() + values.tobytes()).hexdigest()
        names[tensor.name] = name = f"weight_{digest[:24]}"
        if name in kept:
            graph.initializer.remove(tensor)
        kept.add(name)
        tensor.name = name
    for node in graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = names.get(name, name)
