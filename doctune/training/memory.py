"""How much memory a run will take, told from the base's shape before a weight of it is read.

    need = estimate(measure(skeleton, params), params, bf16=True)
    need.total                     # bytes; need.weights, .gradients, .optimizer, .activations, .logits

With P weights, of which T learn and Q are held in 4 bits, t padded tokens in the largest batch and V pieces in the vocabulary:

    weights      4 (P - Q) + 0.516 Q                float32; NF4 with scales quantised too (Dettmers et al. 2023)
    gradients    4 T
    optimizer    8 T                                AdamW's two averages
    activations  t (A s + extra)                    A: numbers a token that the layers keep for the backward pass, of s bytes
    logits       t/2 V l                            an answer is about half of the tokens; l bytes a logit

A is the sum of inputs and outputs of all linear layers, halved for an encoder-decoder, whose tokens pass through one of the two
sides. With gradient checkpointing only each layer's input and one whole layer are kept. The constants below were fitted to the
peak memory of real runs (full, LoRA, DoRA, QLoRA, IA3; float32 and bfloat16) on Marian and Qwen2 shapes.
"""

from typing import Any, NamedTuple

from doctune.training.params import TrainParams

NF4_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)  # a scale of 8 bits for 64 weights, one of 32 bits for 256 scales
