"""What MLflow's pages say about the model and each version: what it is, made from what, how good, how to load it.

    model_description(params, source)        # source: the `crawl` section that dvc.lock has
    version_description(params.name, version.number, version.tags, facts)

Markdown; made from what is in the pipeline's files and the version's tags, and written again when these change.
"""

import re
from collections.abc import Mapping
from typing import Any

from doctune.registry.lineage import UNKNOWN, Files, RegisterParams
from doctune.registry.tags import LEAKED, lock_stages, stage_params

SCORES = ("bleu", "chrf", "terms", "structure")


def model_description(params: RegisterParams, files: Files) -> str:
    source = stage_params(lock_stages(files.dvc_lock), "crawl")
    of = f" of `{source['name']}`" if source.get("name") else ""
    return "\n\n".join(
        [
            params.description,
            f"Translates Markdown documentation from English into Simplified Chinese; fine-tuned by doctune from the pages{of}.",
            "`champion` is the version in use: it passed the gates of promotion as it ships. `challenger` is the last run's.",
            _load(params.name, "@champion", "champion"),
            licence(files),
        ]
    )


def version_description(name: str, number: str, tags: Mapping[str, str], files: Files, facts: Mapping[str, Any]) -> str:
    """`facts`: reports/train/train.json."""
    method = facts.get("method") or _part(facts, "params").get("method") or UNKNOWN
    how = [f"method {method}", *([f"{facts['steps']:,} updates"] if isinstance(facts.get("steps"), int) else [])]
    rows = [f"{facts[key]:,} rows" for key in ("train_rows",) if isinstance(facts.get(key), int)]
    made = f"Fine-tuned ({', '.join([*how, *rows])}) from source revision `{tags.get('data_revision', UNKNOWN)}`"
    made += f", code `{tags.get('git_commit', UNKNOWN)[:12]}`"
    made += f", preset `{tags['preset']}`." if "preset" in tags else "."
    scores = [
        f"{metric} {tags[f'tuned_{metric}']}" + (f" (base {tags[base]})" if (base := f"base_{metric}") in tags else "")
        for metric in SCORES
        if f"tuned_{metric}" in tags
    ]
    parts = [made]
    if scores:
        parts.append(f"On its test rows, by PyTorch: {', '.join(scores)}.")
    if "parity_bleu_int8" in tags:
        parts.append(
            f"Ships as int8 ONNX with BLEU {tags['parity_bleu_int8']}; PyTorch has {tags.get('parity_bleu_torch', UNKNOWN)}."
        )
    if LEAKED in tags:
        parts.append(f"Test rows whose English is in train too: {tags[LEAKED]}.")
    return "\n\n".join([" ".join(parts), _load(name, f"/{number}", number), licence(files)])


def licence(files: Files) -> str:
    """Of the pages that were learnt from, and of the base, as their own files say."""
    source = stage_params(lock_stages(files.dvc_lock), "crawl")
    pages = ", ".join(filter(None, [source.get("licence"), source.get("attribution")])) or "not stated"
    return f"Licence: pages {pages}; base {base_licence(files)}."


def base_licence(files: Files) -> str:
    """`license:` in the head of the base's model card."""
    card = files.base / "README.md"
    text = card.read_text(encoding="utf-8", errors="replace") if card.is_file() else ""
    head = text.split("\n---", 1)[0] if text.startswith("---") else ""
    found = re.search(r"^license: *(\S.*)$", head, re.MULTILINE)
    return found[1].strip() if found else "not stated"


def _load(name: str, which: str, wanted: str) -> str:
    return (
        f'Load: `mlflow.pyfunc.load_model("models:/{name}{which}").predict(["Pods are running."])` (PyTorch), or '
        f'`doctune translate --model {wanted} "Pods are running."` (as it ships)'
    )


def _part(values: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = values.get(key)
    return found if isinstance(found, Mapping) else {}
