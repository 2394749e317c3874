"""How a text becomes a model's input and a translation its labels: one package for training, translation and serving.

A model folder says how it wants to be spoken to in its `doctune.json` (a `Recipe`):

    {"template": "plain", "placeholders": true, "links": {"/docs/": "/zh-cn/docs/"}, "target_prefix": ""}

    prompt_ids(tokenizer, recipe, "A Pod runs.")                                # what a model reads before it answers
    encode_pair(tokenizer, recipe, "A Pod runs.", "Pod 在运行。", max_length=256)  # the same, and the answer with its end

Templates are in `doctune.prompts.templates`, a folder's recipe in `.recipe`, texts and token ids in `.encoding`.
"""

from doctune.prompts.encoding import (
    IGNORED,
    Example,
    Source,
    check_template,
    check_tokenizer,
    cut,
    encode_pair,
    end_id,
    finish,
    prepare,
    prompt_ids,
    set_padding,
)
from doctune.prompts.recipe import RECIPE_FILE, Recipe, TemplateName, read_recipe, write_recipe
from doctune.prompts.templates import INSTRUCTIONS, TASKS, TERM, TRANSLATE

__all__ = [
    "IGNORED",
    "INSTRUCTIONS",
    "RECIPE_FILE",
    "TASKS",
    "TERM",
    "TRANSLATE",
    "Example",
    "Recipe",
    "Source",
    "TemplateName",
    "check_template",
    "check_tokenizer",
    "cut",
    "encode_pair",
    "end_id",
    "finish",
    "prepare",
    "prompt_ids",
    "read_recipe",
    "set_padding",
    "write_recipe",
]
