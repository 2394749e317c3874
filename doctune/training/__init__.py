"""Fine-tuning: parameters, examples in batches of like length, the trainer and its watchers."""
