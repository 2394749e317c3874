"""The losses that a training logged, as a report draws them.

curves_of(store, version.run_id, ("loss", "eval_loss"))         # {"loss": [(20.0, 3.4), (40.0, 2.9)], "eval_loss": [(40.0, 2.8)]}
"""

import math
from collections.abc import Sequence

from doctune.registry.store import Store, told


@told
def curves_of(store: Store, run_id: str | None, names: Sequence[str]) -> dict[str, list[tuple[float, float]]]:
    """(step, value) of each metric that a run logged, where it is a number; nothing of a run that MLflow no longer has."""
    from mlflow.exceptions import MlflowException

    found: dict[str, list[tuple[float, float]]] = {}
    if run_id is None:
        return found
    for key in names:
        try:
            history = store.client.get_metric_history(run_id, key)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            break
        if points := {float(point.step): float(point.value) for point in history if math.isfinite(point.value)}:
            found[key] = sorted(points.items())
    return found
