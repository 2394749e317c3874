"""The shape of the test's Yuan."""

from typing import Any

from transformers import PretrainedConfig


class YuanConfig(PretrainedConfig):
    model_type = "yuan"

    def __init__(
        self,
        vocab_size: int = 600,
        hidden_size: int = 64,
        intermediate_size: int = 128,
        num_hidden_layers: int = 2,
        num_attention_heads: int = 4,
        max_position_embeddings: int = 512,
        **kwargs: Any,
    ):
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.intermediate_size = intermediate_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.max_position_embeddings = max_position_embeddings
        super().__init__(**{"use_cache": False, "tie_word_embeddings": False, **kwargs})
