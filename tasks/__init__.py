"""The programs behind dvc.yaml's stages, one file a stage: read inputs, call doctune, write outputs and a report."""
