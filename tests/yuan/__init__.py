"""The code that tiny_yuan brings in its folder: an architecture that transformers does not know."""
