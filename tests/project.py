"""A copy of this project to run for real: the work tree as git sees it, in a repository of its own, with a short training.

project = Project.copy(tmp_path / "site")
project.run("doctune", "run")                 # -> CompletedProcess; PATH begins with this environment's programs
"""

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
SHORT = {
    "train": {"epochs": 0.5, "eval_steps": 5},
    "evaluate": {"bootstrap_samples": 100},
    "export": {"parity_rows": 60},
    "promote": {"floors": {"structure": 50.0, "terms": 30.0}, "ceilings": {}, "losses": {}, "max_general_loss": 50.0},
}


@dataclass(frozen=True)
class Project:
    root: Path

    @classmethod
    def copy(cls, to: Path) -> "Project":
        """Copy tracked and new files, shorten the training, and commit."""
        listed = (
            subprocess.run(
                ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                cwd=ROOT,
                capture_output=True,
                check=True,
            )
            .stdout.decode()
            .split("\0")
        )
        for name in filter(None, listed):
            if (ROOT / name).is_file():
                (to / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, to / name)
        project = cls(to)
        project.set(SHORT)
        project.git("init", "--quiet", "--initial-branch=main")
        project.commit("a copy")
        return project

    def git(self, *words: str) -> str:
        names = ("-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false")
        return subprocess.run(["git", *names, *words], cwd=self.root, capture_output=True, text=True, check=True).stdout

    def commit(self, message: str) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)

    def params(self) -> dict:
        return yaml.safe_load((self.root / "params.yaml").read_text(encoding="utf-8"))

    def set(self, changes: dict) -> None:
        values = self.params()
        for section, knobs in changes.items():
            values[section] |= knobs
        (self.root / "params.yaml").write_text(
            yaml.safe_dump(values, allow_unicode=True, sort_keys=False), encoding="utf-8"
        )

    def environment(self, **more: str) -> dict[str, str]:
        """This process's, without what would tie the copy to other servers or stores."""
        kept = {
            k: v
            for k, v in os.environ.items()
            if k not in ("MLFLOW_TRACKING_URI", "PREFECT_API_URL", "PREFECT_HOME", "PYTHONPATH")
        }
        here = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(self.root),
            "PREFECT_HOME": str(self.root / ".doctune/prefect"),
        }
        return kept | here | more

    def start(self, *words: str, **more: str) -> subprocess.Popen:
        return subprocess.Popen(
            self.command(words),
            cwd=self.root,
            env=self.environment(**more),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *words: str, timeout: float = 1500, **more: str) -> subprocess.CompletedProcess:
        process = self.start(*words, **more)
        try:
            output, _ = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        return subprocess.CompletedProcess(process.args, process.returncode, output)

    def command(self, words: tuple[str, ...]) -> list[str]:
        """`doctune` and `dvc` as modules, so that the copy's code runs and not the installed one."""
        modules = {"doctune": "doctune.cli", "dvc": "dvc", "python": None}
        if words[0] == "python":
            return [sys.executable, *words[1:]]
        return [sys.executable, "-m", modules[words[0]], *words[1:]] if words[0] in modules else list(words)
