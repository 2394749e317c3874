"""What stages and front ends use of the registry, in one place: see the package's own docstring."""

from doctune.registry.champions import roll_back
from doctune.registry.lineage import Files, RegisterParams, model_hash
from doctune.registry.packages import weights_in
from doctune.registry.repair import ensure_run, log_evaluation, reconcile
from doctune.registry.store import connect
from doctune.registry.versions import ensure_shipped, ensure_version, fetch, list_versions, shipped_uri

__all__ = [
    "Files",
    "RegisterParams",
    "connect",
    "ensure_run",
    "ensure_shipped",
    "ensure_version",
    "fetch",
    "list_versions",
    "log_evaluation",
    "model_hash",
    "reconcile",
    "roll_back",
    "shipped_uri",
    "weights_in",
]
