"""The best trial as a preset: a file of presets/ that anybody can read, and `doctune run --preset NAME` takes.

    check_name("k8s-better")                               # before a search that would end in a refusal
    write_preset("k8s-better", best_params, account)       # presets/k8s-better.yaml

A file that a person wrote, or changed since, is never overwritten: the first line holds a hash of all that follows.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from doctune.errors import DoctuneError
from doctune.files import hash_text, whole_file
from doctune.params import PRESETS, Params, preset_of
from doctune.section import Section, Slug, read_yaml, validate

_SIGNED = re.compile(r"# Written by `doctune sweep`; hash of what follows: (?P<hash>[0-9a-f]{64})")


class _Name(Section):
    name: Slug


def check_name(name: str) -> None:
    """Refuse what can be no name of a preset, and one whose file is not ours to overwrite."""
    validate(_Name, {"name": name}, "the sweep's name")
    path = _path(name)
    if path.exists() and not _is_ours(path):
        raise DoctuneError(
            f"{path} was not written by a sweep, or changed since; give another --name, or move the file"
        )


def write_preset(name: str, params: Params, account: Sequence[str]) -> Path:
    """Write what differs from `embedded`, under a header with the lines of `account`; returns the file's path."""
    from io import StringIO

    from ruamel.yaml import YAML

    check_name(name)
    changes = preset_of(params)
    yaml = YAML()
    yaml.width = 120
    body = StringIO()
    yaml.dump(changes, body)
    text = "".join(f"# {line}\n" for line in account) + "\n" + body.getvalue()
    path = _path(name)
    with whole_file(path) as tmp:
        tmp.write_text(
            f"# Written by `doctune sweep`; hash of what follows: {hash_text(text)}\n{text}", encoding="utf-8"
        )
        if read_yaml(tmp) != changes:
            raise DoctuneError(f"{path} was not written: YAML does not give back what the best trial had, {changes}")
    return path


def _path(name: str) -> Path:
    return PRESETS / f"{name}.yaml"


def _is_ours(path: Path) -> bool:
    try:
        first, _, rest = path.read_text(encoding="utf-8").partition("\n")
    except (OSError, UnicodeDecodeError):
        return False
    signed = _SIGNED.fullmatch(first)
    return signed is not None and signed["hash"] == hash_text(rest)
