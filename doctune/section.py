"""A section of params.yaml: typed, closed to unknown keys, and read with every mistake reported at once.

    class SplitParams(Section):
        test: float = Field(ge=0, lt=1)

    knobs = load_section(SplitParams, "split")        # a stage reads its own section and nothing else

Each stage's section is declared beside the code that obeys it; `doctune.params` puts them together.
"""

import re
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from doctune.errors import DoctuneError, one_line

PARAMS_FILE = Path("params.yaml")
COMMIT = re.compile(r"[0-9a-f]{40}")  # of git and the hubs, in full: a branch or a tag can move


class Section(BaseModel):
    """Base of every section: unknown keys are refused, values are not coerced from other types, instances are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def _slug(name: str) -> str:
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name):
        raise ValueError("wanted lower-case letters, digits and single hyphens")
    return name


Slug = Annotated[str, AfterValidator(_slug)]  # a name that is a key in files and part of paths

AnySection = TypeVar("AnySection", bound=Section)


def read_yaml(path: Path) -> Any:
    """Parse YAML 1.2 (so `1e-4` is a number, as DVC reads it)."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DoctuneError(
            f"{path} does not exist; run from the project's root folder, or write it with `doctune run --preset embedded`"
        ) from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise DoctuneError(f"{path} is not valid YAML: {one_line(error)}") from None


def validate(model: type[AnySection], value: Any, where: str) -> AnySection:
    """Build `model` from plain data; raises DoctuneError naming every mistake, each with its key and what was got."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise DoctuneError(f"{where} has {error.error_count()} mistake(s): " + "; ".join(_mistakes(error))) from None


def load_section(model: type[AnySection], name: str, path: Path = PARAMS_FILE) -> AnySection:
    """Read one section of params.yaml."""
    everything = read_yaml(path)
    if not isinstance(everything, dict) or name not in everything:
        raise DoctuneError(f"{path} has no section {name!r}; `doctune run --preset embedded` writes a complete one")
    return validate(model, everything[name], f"{path}, section {name}:")


def _mistakes(error: ValidationError) -> list[str]:
    lines = []
    for detail in error.errors():
        key = ".".join(str(part) for part in detail["loc"]) or "(top level)"
        match detail["type"]:
            case "extra_forbidden":
                lines.append(f"{key}: unknown key")
            case "missing":
                lines.append(f"{key}: missing")
            case _:
                lines.append(f"{key}: {detail['msg'].removeprefix('Value error, ')}, got {detail['input']!r}")
    return lines
