"""Search for better knobs of `train`: many short trainings, judged by validation loss, the best written as a preset."""
