"""Registered versions for people: `doctune models` and `doctune models show V`.

table(list_versions(store, "doctune"))       # a row a version: number, aliases, scores, what promotion decided
story(store, "doctune", versions, "3")       # {"where it came from": {...}, "what changed": [...], ...}
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from doctune.registry.champions import DECISION, GATE, ROLLED_BACK, Reign, history
from doctune.registry.changes import changes
from doctune.registry.snapshot import snapshot_of
from doctune.registry.store import Store
from doctune.registry.tags import LEAKED
from doctune.registry.versions import REPLACED, SHIPPED, Version, resolve

HEADINGS = ("version", "aliases", "BLEU", "int8", "terms", "markup", "decision", "data", "code")  # 80 columns
SOURCE = (
    ("source revision", "data_revision"),
    ("data (splits)", "data_hash"),
    ("model", "model_hash"),
    ("shipped (int8)", "onnx_hash"),
    ("base, by DVC", "dvc_base"),
    ("model, by DVC", "dvc_model"),
    ("data, by DVC", "dvc_data"),
    ("commit", "git_commit"),
    ("preset", "preset"),
    ("flow run", "doctune.flow_run_id"),
    ("epochs of adaptation", "adapt_epochs"),
)
QUALITY = (
    ("test rows in train", LEAKED),
    ("BLEU as it ships", "parity_bleu_int8"),
    ("BLEU by PyTorch, same rows", "parity_bleu_torch"),
    ("fp32 ONNX as PyTorch", "parity_identical_fp32"),
)
METRICS = ("bleu", "chrf", "terms", "structure", "style", "degenerate")


def table(versions: Sequence[Version]) -> list[tuple[str, ...]]:
    """Rows under HEADINGS."""
    return [
        (
            version.number,
            "\n".join(version.aliases),
            tags.get("tuned_bleu", ""),
            tags.get("parity_bleu_int8", "") if version.shipped else "none",
            tags.get("tuned_terms", ""),
            tags.get("tuned_structure", ""),
            decided(version),
            tags.get("data_revision", "").rpartition("@")[2][:7],
            tags.get("git_commit", "")[:7],
        )
        for version in versions
        for tags in (version.tags,)
    ]


def decided(version: Version) -> str:
    """What promotion said of a version last, in a word or two; "not judged" where it never looked."""
    decision = _decision(version)
    if decision is None:
        return "not judged"
    failed = [str(gate.get("gate")) for gate in decision["gates"] if not gate.get("passed")]
    if ROLLED_BACK in version.tags:
        return "rolled back"
    return f"refused: {', '.join(failed)}" if decision["verdict"] == "refused" else str(decision["verdict"])


def story(store: Store, name: str, versions: Sequence[Version], wanted: str) -> dict[str, Any]:
    """Everything that is known of one version, as plain data: sections of names and values, or of lines."""
    version = resolve(store, name, wanted)
    tags = version.tags
    found: dict[str, Any] = {
        "version": {
            "name": version.name,
            "number": version.number,
            "aliases": ", ".join(version.aliases) or "none",
            "registered": datetime.fromtimestamp(version.created / 1000, UTC).isoformat(timespec="seconds"),
            "ships": tags.get(SHIPPED, "nothing: it was not exported"),
            **({"replaced by": tags[REPLACED]} if REPLACED in tags else {}),
            **({"rolled back": tags[ROLLED_BACK]} if ROLLED_BACK in tags else {}),
        },
        "where it came from": _named(version, SOURCE),
        "scores": {
            metric: f"{tags[f'tuned_{metric}']} (base {tags.get(f'base_{metric}', 'unknown')})"
            for metric in METRICS
            if f"tuned_{metric}" in tags
        }
        | _named(version, QUALITY),
    }
    if "general_tuned_chrf" in tags:
        base = tags.get("general_base_chrf", "unknown")
        found["scores"]["chrF on general text"] = f"{tags['general_tuned_chrf']} (base {base})"
    found["promotion"] = {"decision": decided(version)} | {
        key.removeprefix(GATE).replace("_", " "): text for key, text in sorted(tags.items()) if key.startswith(GATE)
    }
    if (decision := _decision(version)) is not None:
        found["promotion"] |= {key: decision[key] for key in ("at", "reason") if decision.get(key)}
    reigns = [_reign(reign) for reign in history(store, version.name) if reign.version == version.number]
    if reigns:
        found["promotion"]["champion"] = "; ".join(reigns)
    before = next((other for other in versions if int(other.number) < int(version.number)), None)
    found[f"what changed since version {before.number}" if before else "what changed"] = _changed(
        store, before, version
    )
    return found


def text_of(found: dict[str, Any]) -> str:
    """For a terminal."""
    lines: list[str] = []
    for title, section in found.items():
        lines += [title]
        if isinstance(section, dict):
            width = max((len(name) for name in section), default=0)
            lines += [f"  {name:<{width}}  {value}" for name, value in section.items()]
        else:
            lines += [f"  {line}" for line in section]
    return "\n".join(lines) + "\n"


def _changed(store: Store, before: Version | None, version: Version) -> list[str]:
    after = snapshot_of(store, version)
    if after is None:
        return [f"what version {version.number} was made of was not kept, or is gone"]
    if before is None:
        pairs = ", ".join(f"{split} {count:,}" for split, count in after["pairs"].items())
        return [f"the first version: {len(after['pages']):,} pages; pairs: {pairs}"]
    old = snapshot_of(store, before)
    if old is None:
        return [f"what version {before.number} was made of was not kept, or is gone"]
    return changes(old, after).lines()


def _named(version: Version, names: Sequence[tuple[str, str]]) -> dict[str, str]:
    return {name: version.tags[tag] for name, tag in names if tag in version.tags}


def _decision(version: Version) -> dict[str, Any] | None:
    try:
        decision = json.loads(version.tags[DECISION])
        return decision if isinstance(decision["gates"], list) and decision["verdict"] else None
    except (KeyError, TypeError, ValueError):
        return None


def _reign(reign: Reign) -> str:
    return f"since {reign.since or 'unknown'}, {reign.how}"
