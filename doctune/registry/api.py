"""All of the registry in one place, for front ends: see the package's own docstring."""

from doctune.registry.champions import (
    ChampionChanged,
    Reign,
    champion_of,
    history,
    move,
    promotion_lock,
    record,
    roll_back,
)
from doctune.registry.lineage import Files, RegisterParams, model_hash
from doctune.registry.packages import weights_in
from doctune.registry.repair import ensure_run, log_evaluation, reconcile
from doctune.registry.runs import TrainingRun, find_run, replay_run, training_run
from doctune.registry.store import Store, connect
from doctune.registry.versions import (
    Version,
    ensure_shipped,
    ensure_version,
    fetch,
    list_versions,
    resolve,
    shipped_uri,
)

__all__ = [
    "ChampionChanged",
    "Files",
    "RegisterParams",
    "Reign",
    "Store",
    "TrainingRun",
    "Version",
    "champion_of",
    "connect",
    "ensure_run",
    "ensure_shipped",
    "ensure_version",
    "fetch",
    "find_run",
    "history",
    "list_versions",
    "log_evaluation",
    "model_hash",
    "move",
    "promotion_lock",
    "reconcile",
    "record",
    "replay_run",
    "resolve",
    "roll_back",
    "shipped_uri",
    "training_run",
    "weights_in",
]
