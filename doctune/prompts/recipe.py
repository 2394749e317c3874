"""What a model folder says about how it is prompted: its `doctune.json`.

read_recipe(Path("models/tuned")).template        # "chatml"

Nothing in it can make a model's own code run (see `doctune.trust`).
"""

from pathlib import Path
from typing import Literal

from doctune.errors import DoctuneError
from doctune.files import read_json, write_json
from doctune.section import Section, validate

RECIPE_FILE = "doctune.json"

TemplateName = Literal["plain", "chatml", "sep", "instruct"]


class Recipe(Section):
    """How a model is prompted: its template, whether markup travels as placeholders, where links of the target language live."""

    template: TemplateName
    placeholders: bool
    links: dict[str, str]
    target_prefix: str


def read_recipe(model: Path) -> Recipe:
    path = model / RECIPE_FILE
    if not path.is_file():
        raise DoctuneError(
            f"{path} does not exist, so nobody knows how {model} is prompted; make the folder with the base or train stage"
        )
    return validate(Recipe, read_json(path), f"{path}:")


def write_recipe(model: Path, recipe: Recipe) -> None:
    write_json(model / RECIPE_FILE, recipe.model_dump())
