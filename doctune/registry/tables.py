"""A table of a run, which replaces the one before it and which MLflow's UI shows as a table.

    log_table(store, run_id, "trials.json", {"number": [0, 1], "state": ["complete", "pruned"]})

MLflow's own `log_table` would append; its UI and `load_table` know a table by the tag that is set here as there.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from doctune.registry.store import Store

_TAG = "mlflow.loggedArtifacts"


def log_table(store: Store, run_id: str, path: str, columns: Mapping[str, Sequence[Any]]) -> None:
    """Write columns of equal length as the artifact `path`."""
    rows = [list(row) for row in zip(*columns.values(), strict=True)]
    store.client.log_dict(run_id, {"columns": list(columns), "data": rows}, path)
    tables = json.loads(store.client.get_run(run_id).data.tags.get(_TAG, "[]"))
    entry = {"path": path, "type": "table"}
    if entry not in tables:
        store.client.set_tag(run_id, _TAG, json.dumps([*tables, entry]))
