"""The `export` section of params.yaml."""

from pydantic import Field

from doctune.section import Section


class ExportParams(Section):
    """What the exported model must prove on test rows before it ships.

    `min_identical`: share (0 to 1) of rows whose fp32 ONNX output equals PyTorch's, letter by letter.
    `max_int8_bleu_loss`: BLEU points that int8 may lose against PyTorch.
    `parity_rows`: how many rows are decoded, chosen by hash; all of them where there are fewer.
    `trim_vocabulary`: ship only the pieces that the training rows and a safety set need (doctune.vocabulary).
    """

    min_identical: float = Field(ge=0, le=1)
    max_int8_bleu_loss: float = Field(ge=0)
    parity_rows: int = Field(ge=1)
    trim_vocabulary: bool
