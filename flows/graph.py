"""The DAG and each stage's freshness, asked of DVC inside this process: nothing is decided here.

    dag = Dag(Path.cwd())
    [stage.name for stage in dag.stages()]        # ["crawl", "align", ...]: each after what it needs
    dag.judge("train")                            # Verdict(stale=("params.yaml train modified",), restorable=False)

One DVC repository object serves all threads of a flow, one at a time: it is not thread-safe, and opening it anew for
every question would cost more than the question.
"""

import shlex
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from doctune.errors import DoctuneError, one_line
from doctune.section import PARAMS_FILE

if TYPE_CHECKING:
    from dvc.repo import Repo

BUSY_SECONDS = 20.0

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Stage:
    """A stage that has a command, and the names of those that it directly needs."""

    name: str
    needs: tuple[str, ...]


@dataclass(frozen=True)
class Verdict:
    """What DVC says of one stage: why it is stale (nothing: it is fresh).

    `restorable`: nothing changed but that outputs are missing, and DVC's cache has every one of them.
    """

    stale: tuple[str, ...]
    restorable: bool


class Dag:
    """The pipeline of the project at `root`; raises DoctuneError in one line when DVC cannot read it."""

    def __init__(self, root: Path) -> None:
        from dvc.exceptions import DvcException
        from dvc.repo import Repo

        self._root = root.resolve()
        self._mutex = threading.Lock()
        self._stamps: object = None
        self._files: set[Path] = set()
        try:
            self._repo = Repo(str(self._root))
        except DvcException as error:
            raise DoctuneError(f"DVC cannot open {self._root}: {one_line(error)}") from None
        if Path(self._repo.root_dir) != self._root:
            raise DoctuneError(f"wanted the project's root folder, got {self._root}; run from {self._repo.root_dir}")

    def stages(self) -> tuple[Stage, ...]:
        """Every stage with a command, sorted so that each comes after all that it needs."""

        def ask(repo: "Repo") -> tuple[Stage, ...]:
            import networkx
            from dvc.repo.reproduce import get_active_graph

            graph = get_active_graph(repo.index.graph)  # edges point from a stage to what it needs

            def needs(stage: Any) -> Iterator[str]:
                for needed in graph.successors(stage):
                    if needed.cmd:
                        yield _name(needed)
                    else:
                        yield from needs(needed)  # a file under `dvc add`

            order = networkx.dfs_postorder_nodes(graph)
            return tuple(Stage(_name(stage), tuple(dict.fromkeys(needs(stage)))) for stage in order if stage.cmd)

        return self._ask(ask)

    def needed_by(self, name: str) -> tuple[Stage, ...]:
        """The stages that `name` needs, directly or through others, in the order of `stages`."""
        stages = self.stages()
        wanted = {need for stage in stages if stage.name == name for need in stage.needs}
        for stage in reversed(stages):  # each before all that it needs
            wanted |= set(stage.needs) if stage.name in wanted else set()
        return tuple(stage for stage in stages if stage.name in wanted)

    def reads(self, path: Path) -> bool:
        """Whether any stage depends on the file `path` (relative to the root), or on keys of it."""
        wanted = str(self._root / path)
        return self._ask(
            lambda repo: any(str(dep.fs_path) == wanted for stage in repo.index.stages for dep in stage.deps)
        )

    def commands(self) -> dict[str, str]:
        """Each stage's command as dvc.yaml has it, parameters filled in."""
        return self._ask(lambda repo: {_name(stage): str(stage.cmd) for stage in repo.index.stages if stage.cmd})

    def judge(self, name: str) -> Verdict:
        """DVC's status of one stage, as the workspace stands now; ask when what it needs is up to date."""

        def ask(repo: "Repo") -> Verdict:
            stage = next((found for found in repo.index.stages if _name(found) == name), None)
            if stage is None:
                raise DoctuneError(f"dvc.yaml has no stage {name!r} any more; start the flow again")
            status: list[Any] = next(iter(stage.status().values()), [])
            outs = {str(out): out for out in stage.outs}
            changed = status[0].get("changed outs", {}) if len(status) == 1 and isinstance(status[0], dict) else {}
            restorable = bool(changed) and all(
                how == "deleted" and outs[out].use_cache and not outs[out].changed_cache()
                for out, how in changed.items()
            )
            return Verdict(tuple(_reasons(status)), restorable)

        return self._ask(ask)

    def _ask(self, question: Callable[["Repo"], Answer]) -> Answer:
        """Put a question to DVC under its lock; what it remembers of dvc.yaml and dvc.lock is renewed with them."""
        from dvc.exceptions import DvcException
        from dvc.lock import LockError

        deadline = time.monotonic() + BUSY_SECONDS
        with self._mutex:
            while True:
                try:
                    with self._repo.lock:
                        if self._stamps is None or self._stamps != self._stamp():
                            if self._stamps is not None:
                                self._repo._reset()
                            stages = [Path(stage.path) for stage in self._repo.index.stages]
                            locks = [path.with_suffix(".lock") for path in stages]
                            config = [
                                self._root / name
                                for name in (PARAMS_FILE.name, ".dvcignore", ".dvc/config", ".dvc/config.local")
                            ]
                            self._files = {*stages, *locks, *config}
                            self._stamps = self._stamp()
                        return question(self._repo)
                except LockError as error:
                    if time.monotonic() > deadline:
                        raise DoctuneError(
                            f"another DVC process is at work on this checkout: {one_line(error)}"
                        ) from None
                    time.sleep(0.5)
                except DvcException as error:
                    raise DoctuneError(f"DVC cannot read the pipeline: {one_line(error)}") from None

    def _stamp(self) -> dict[Path, tuple[int, int, int] | None]:
        stamps: dict[Path, tuple[int, int, int] | None] = {}
        for path in self._files:
            try:
                found = path.stat()
                stamps[path] = (found.st_mtime_ns, found.st_size, found.st_ino)
            except OSError:
                stamps[path] = None
        return stamps


def options_of(command: str) -> dict[str, str]:
    """The options of a stage's command by name: {"base": "models/base", ...}."""
    words = shlex.split(command)
    return {word[2:]: value for word, value in pairwise(words) if word.startswith("--")}


def _reasons(status: Any) -> Iterator[str]:
    """[{"changed deps": {"a": "modified", "params.yaml": {"k": "new"}}}, "always changed"] as flat words."""
    for entry in status:
        if isinstance(entry, str):
            yield entry
            continue
        for changes in entry.values():
            for path, how in changes.items():
                if isinstance(how, dict):
                    yield from (f"{path} {key} {word}" for key, word in how.items())
                else:
                    yield f"{path} {how}"


def _name(stage: Any) -> str:
    """As `dvc repro` takes it in the root folder; DVC's own `addressing` depends on the current one."""
    return str(stage.name if stage.path_in_repo == "dvc.yaml" else f"{stage.path_in_repo}:{stage.name}")
