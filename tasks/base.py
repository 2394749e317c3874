"""Stage `base`: the base model as one folder of safetensors, from a local folder or a pinned hub revision.

python -m tasks.base --out models/fetched --report reports/base.json
"""

from pathlib import Path

from doctune.bases import BaseParams, materialise_base
from doctune.files import write_json
from doctune.section import load_section
from tasks.stage import stage


def main(out: Path, report: Path) -> None:
    facts = materialise_base(load_section(BaseParams, "base"), out)
    write_json(report, facts)
    print(f"base: {facts['architecture']} with {facts['parameters'] / 1e6:.1f} M parameters from {facts['origin']}")


if __name__ == "__main__":
    stage(main)
