"""Tags that answer more about a version than lineage.py's: every score, leakage, parity.

    judged_tags(metrics)         # {"tuned_terms": "86.39", "base_terms": "74.35", ..., "general_tuned_chrf": "31.20"}
    leakage_tags(split_report)   # {"leaked_rows": "0"}
    parity_tags(export_report)   # {"parity_bleu_int8": "34.27", ...}

lineage.py is code of the train stage, where any change trains again; what training does not need is here.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from doctune.files import read_json
from doctune.leakage import leaked
from doctune.registry.lineage import _params as stage_params
from doctune.registry.lineage import _stages as lock_stages

__all__ = ["judged_tags", "leakage_tags", "lock_stages", "parity_tags", "stage_params"]

JUDGED = ("terms", "structure", "style", "degenerate")
LEAKED = "leaked_rows"


def judged_tags(metrics: Mapping[str, Any]) -> dict[str, str]:
    """The scores that need no reference, and chrF on general text, of tuned and base, as far as metrics.json has them."""
    general = metrics.get("general")
    general = general if isinstance(general, Mapping) else {}
    wanted: list[tuple[str, Any, tuple[str, ...]]] = [
        (system, metrics.get(system), JUDGED) for system in ("tuned", "base")
    ]
    wanted += [(f"general_{system}", general.get(system), ("chrf",)) for system in ("tuned", "base")]
    return {
        f"{name}_{metric}": f"{group[metric]:.2f}"
        for name, group, names in wanted
        for metric in names
        if isinstance(group, Mapping) and isinstance(group.get(metric), int | float)
    }


def leakage_tags(report: Path | None) -> dict[str, str]:
    """Test rows whose English is in train too, as the split stage's own check counted them."""
    if report is None or not report.exists():
        return {}
    counts = read_json(report).get("leakage", {}).get("test_in_train")
    return {LEAKED: str(leaked(counts))} if counts else {}


def parity_tags(report: Path | None) -> dict[str, str]:
    """What the export stage measured of what ships."""
    if report is None or not report.exists():
        return {}
    facts = read_json(report)
    wanted = {"bleu_int8": ".2f", "bleu_torch": ".2f", "identical_fp32": ".4f"}
    return {f"parity_{key}": format(facts[key], form) for key, form in wanted.items() if key in facts}
