"""The rules of the house that a person would forget: imports point down, code dependencies are declared, presets hold."""

import ast
import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from doctune.params import Params, load_preset, preset_names, read_params
from doctune.section import validate
from tasks import adapt, train

ROOT = Path(__file__).parents[1]
PACKAGES = ("doctune", "tasks", "flows")
STAGES = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]


def modules() -> list[Path]:
    return [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))]


def imported_files(file: Path) -> set[Path]:
    """Project files that `file` imports, anywhere in it, with the packages' __init__ on the way."""
    found: set[Path] = set()
    tree = ast.parse(file.read_text(encoding="utf-8"))
    checking = {
        id(n)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for n in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in checking:
            continue
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] not in PACKAGES:
                continue
            for end in range(1, len(parts) + 1):
                path = ROOT.joinpath(*parts[:end])
                found |= {p for p in (path / "__init__.py", path.with_suffix(".py")) if p.is_file()}
    return found


def closure(file: Path) -> set[Path]:
    seen, todo = {file}, [file]
    while todo:
        for other in imported_files(todo.pop()) - seen:
            seen.add(other)
            todo.append(other)
    return seen


def needs(stage: str) -> set[Path]:
    """Files of the project whose content can change what a stage does; empty __init__ files cannot."""
    program = re.search(r"python -m (tasks\.\w+)", STAGES[stage]["cmd"])[1]
    files = closure(ROOT / (program.replace(".", "/") + ".py"))
    return {file for file in files if not is_only_docstring(file)}


def is_only_docstring(file: Path) -> bool:
    return all(
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        for node in ast.parse(file.read_text(encoding="utf-8")).body
    )


@pytest.mark.parametrize("stage", STAGES)
def test_declared_code_covers_what_a_stage_imports(stage):
    declared = [ROOT / dep for dep in STAGES[stage]["deps"] if "$" not in dep]
    missing = sorted(
        str(f.relative_to(ROOT)) for f in needs(stage) if not any(f == d or d in f.parents for d in declared)
    )
    assert not missing, f"dvc.yaml, stage {stage}: a change of these would go unnoticed: {missing}"


@pytest.mark.parametrize("stage", STAGES)
def test_declared_code_is_imported(stage):
    used = needs(stage)
    idle = [d for d in STAGES[stage]["deps"] if d.endswith(".py") and ROOT / d not in used]
    assert not idle, f"dvc.yaml, stage {stage}: {idle} are declared but never imported"


ALLOWED = {"doctune": {"doctune"}, "tasks": {"doctune", "tasks"}, "flows": {"doctune", "tasks", "flows"}}


@pytest.mark.parametrize("stage", ["adapt", "train", "translate_base", "translate_tuned"])
def test_a_new_metric_leaves_what_decodes_as_it_was(stage):
    within = {f.relative_to(ROOT).as_posix() for f in needs(stage) if f.is_relative_to(ROOT / "doctune/scoring")}
    declared = {dep for dep in STAGES[stage]["deps"] if dep.startswith("doctune/scoring")}
    assert within | declared <= {
        "doctune/scoring/__init__.py",
        "doctune/scoring/metrics.py",
    }  # chrF chooses checkpoints
    assert stage.startswith("translate") <= (not within | declared)


FILES_AND_SAYING = {"errors.py", "files.py", "locks.py", "machine.py", "pinning.py", "progress.py", "section.py"}
PLUMBING = FILES_AND_SAYING | {"scoring/__init__.py"}  # the knobs of evaluate
READS_TEXTS = {
    "alignment/names.py",
    "cleaning",
    "html.py",
    "markdown.py",
    "near.py",
    "placeholders.py",
    "prose.py",
    "spans.py",
    "text.py",
    "words.py",
}


@pytest.mark.parametrize(
    ("program", "keyed", "weightless"),
    [
        ("training", (*train.MAKES_WEIGHTS, *train.CHOOSES_BY_CHRF), PLUMBING),
        # the key of adapt holds the texts themselves; what chooses by chrF is not asked there
        ("adapting", adapt.MAKES_WEIGHTS, PLUMBING | READS_TEXTS | set(train.CHOOSES_BY_CHRF)),
    ],
)
def test_the_key_of_a_training_covers_all_code_that_makes_its_weights(program, keyed, weightless):
    """Else weights of older code would be found under the key and taken for the new code's."""
    reached = {
        f.relative_to(ROOT / "doctune").as_posix()
        for f in closure(ROOT / f"doctune/{program}/run.py")
        if not is_only_docstring(f)
    }
    left = {name for name in reached if not {name, name.split("/")[0]} & {*keyed, *weightless}}
    assert not left, f"in no key of tasks/: {sorted(left)}"
    assert not {name for name in keyed if not (ROOT / "doctune" / name).exists()}


@pytest.mark.parametrize("file", modules(), ids=lambda f: str(f.relative_to(ROOT)))
def test_imports_point_down(file):
    package = file.relative_to(ROOT).parts[0]
    allowed = ALLOWED[package] | ({"flows"} if file.name == "cli.py" else set())
    reached = {f.relative_to(ROOT).parts[0] for f in imported_files(file)}
    assert reached <= allowed, f"{file.relative_to(ROOT)} imports {reached - allowed}"


ENGINES = {"prefect", "mlflow", "dvc"}
MAY_IMPORT = {"doctune/registry": {"mlflow"}, "doctune/pyfunc.py": {"mlflow"}, "tasks": {"mlflow"}, "flows": ENGINES}


@pytest.mark.parametrize("file", modules(), ids=lambda f: str(f.relative_to(ROOT)))
def test_the_domain_knows_no_engine(file):
    name = file.relative_to(ROOT).as_posix()
    allowed = set().union(*(engines for place, engines in MAY_IMPORT.items() if name.startswith(place)))
    tree = ast.parse(file.read_text(encoding="utf-8"))
    roots = {
        alias.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
    }
    roots |= {node.module.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    assert not (roots & ENGINES) - allowed


def test_commands_replace_their_shell_and_hold_no_absolute_path():
    assert not [name for name, stage in STAGES.items() if not stage["cmd"].startswith("exec python -m tasks.")]
    assert not [name for name, stage in STAGES.items() if re.search(r"(^|\s)[/~]", stage["cmd"])]


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_validates(name):
    validate(Params, load_preset(name), name)


def test_the_committed_params_are_the_embedded_preset():
    assert read_params(ROOT / "params.yaml") == validate(Params, load_preset("embedded"), "embedded")


def test_readme_commands_exist():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    assert set(re.findall(r"\bmake (\w+)", readme)) <= targets
    from typer.main import get_command

    from doctune.cli import app

    known = set(get_command(app).commands)
    used = {
        name
        for block in re.findall(r"^```\n(.*?)^```", readme, re.M | re.S)
        for name in re.findall(r"(?:^|&& )doctune (\w+)", block, re.M)
    }
    assert used and used <= known, used - known
