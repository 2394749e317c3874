"""The Prefect front end: the pipeline from dvc.yaml, its schedule, and the pretraining of `base/`."""
