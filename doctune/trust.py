"""Whether the base may bring code of its own (a modeling_*.py beside its weights, which opening the model runs).

The one place that allows it is this project's params.yaml: `base.remote_code: true`, which a preset sets for a base at a
pinned revision. What a model folder says about itself (doctune.json, config.json) never allows anything, so a folder
from elsewhere runs no code, however it is opened; stages that open models/base and models/tuned pass on what params.yaml
says:

    load_model(Path("models/tuned"), Path("models/base"), remote_code=remote_code_allowed())
"""

from pathlib import Path

from pydantic import ConfigDict

from doctune.section import PARAMS_FILE, Section, load_section


class Trust(Section):
    """One knob of the `base` section; `doctune.bases.BaseParams` has them all."""

    model_config = ConfigDict(extra="ignore")

    remote_code: bool


def remote_code_allowed(params: Path = PARAMS_FILE) -> bool:
    return load_section(Trust, "base", params).remote_code
