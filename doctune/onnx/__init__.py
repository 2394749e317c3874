"""The model that ships: ONNX graphs made from PyTorch, quantised to int8, proven on test rows, run on a CPU.

export_onnx(merged(load_model(tuned, base)), fp32)     # encoder_model.onnx, decoder_model.onnx, ... in float32
quantise(fp32, onnx, params)                           # models/onnx: int8 graphs, tokenizer, facts
load(onnx).translate(["Pods are the smallest unit."])  # ["Pod 是最小的单元。"]
"""

from doctune.onnx.export import export_onnx
from doctune.onnx.int8 import quantise
from doctune.onnx.params import ExportParams
from doctune.onnx.runtime import load

__all__ = ["ExportParams", "export_onnx", "load", "quantise"]
