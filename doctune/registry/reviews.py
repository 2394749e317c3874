"""A review by people in MLflow: a run of its own, found by the hash of its sheet, with what it says and each rating.

    log_review(store, "3f2c...", {"alpha": 0.71, "systems": {...}}, [{"rater": "anna", "item": 1, ...}])

Imported again, with another rater's sheet, say, it is the same run with the newer numbers.
"""

from collections.abc import Mapping, Sequence
from math import isnan, nan
from typing import Any

from doctune.registry.lineage import environment, numbers
from doctune.registry.store import Store, told
from doctune.registry.tables import log_table

REVIEW = "doctune.review"


@told
def log_review(store: Store, sheet: str, verdict: Mapping[str, Any], ratings: Sequence[Mapping[str, Any]]) -> str:
    """Write verdict and ratings into the review's run, made when there is none; returns its id."""
    with store.locked():
        query = f"tags.`{REVIEW}` = '{sheet}'"
        run = next(iter(store.client.search_runs([store.experiment_id], query, max_results=1)), None)
        if run is None:
            tags = {REVIEW: sheet, "mlflow.source.name": "doctune review", **environment(store.root)}
            run = store.client.create_run(store.experiment_id, None, tags, f"review-{sheet[:8]}")
        run_id = str(run.info.run_id)
        pairs = {f"{row['system']}_over_{row['over']}": dict(row) for row in verdict["preferences"]}
        found = dict(numbers({**verdict, "preferences": pairs}))
        gone = {key: nan for key, value in run.data.metrics.items() if key not in found and not isnan(value)}
        for key, value in (gone | found).items():  # MLflow cannot forget a number
            store.client.log_metric(run_id, key, value)
        store.client.log_dict(run_id, dict(verdict), "review/verdict.json")
        log_table(store, run_id, "review/ratings.json", {key: [row[key] for row in ratings] for key in ratings[0]})
        store.client.set_terminated(run_id, "FINISHED")
    return run_id
