"""What is wrong outside gets one clear line and a non-zero exit, through both front ends' own programs, and loses nothing."""

import shutil
import subprocess

import pytest

from tests.project import Project

pytestmark = pytest.mark.slow
SITE = {
    "content/en/docs/a.md": "---\ntitle: A\n---\n\nPods run.\n",
    "content/zh-cn/docs/a.md": "---\ntitle: 甲\n---\n\n<!--\nPods run.\n-->\nPod 在运行。\n",
}


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Project:
    return Project.copy(tmp_path_factory.mktemp("bad") / "project")


@pytest.fixture(autouse=True)
def clean(project):
    """Each case begins with the committed files and no outputs but what the first stage made."""
    yield
    project.git("checkout", "--quiet", "--", ".")
    project.git("clean", "--quiet", "--force", "-d")
    for name in ("data", "reports", "models", "dvc.lock", "site"):
        path = project.root / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def site(project: Project, files: dict[str, str | bytes]) -> str:
    for name, content in files.items():
        file = project.root / "site" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return "site"


def repository(project: Project, files: dict[str, str | bytes]) -> str:
    folder = project.root / site(project, files)
    for words in (
        ["init", "--quiet", "--initial-branch=main"],
        ["add", "--all"],
        ["-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "--quiet", "-m", "x"],
    ):
        subprocess.run(["git", *words], cwd=folder, check=True)
    return "site"


def one_line(done: subprocess.CompletedProcess, said: str) -> None:
    assert done.returncode != 0, done.stdout
    errors = [line for line in done.stdout.splitlines() if "doctune: error: " in line]
    assert len({line[line.index("doctune: error: ") :] for line in errors}) >= 1, done.stdout[-2000:]
    assert said in errors[-1], errors
    assert "Traceback" not in done.stdout, done.stdout[-3000:]


def through_dvc(project: Project, stage: str, changes: dict, said: str) -> None:
    project.set(changes)
    assert project.run("doctune", "source", "update").returncode == 0
    one_line(project.run("dvc", "repro", stage), said)


def git_source(url: str, **more) -> dict:
    return {"crawl": {"source": "git", "name": "test", "url": url, "ref": "main"} | more}


def test_a_source_that_does_not_exist(project):
    project.set(git_source("nowhere"))
    one_line(project.run("doctune", "source", "update"), "nowhere")


def test_a_repository_without_the_folders(project):
    project.set(git_source(repository(project, {"README.md": "hello"})))
    assert project.run("doctune", "source", "update").returncode == 0
    one_line(project.run("dvc", "repro", "crawl"), "content/en/docs")


def test_a_page_that_is_not_utf8(project):
    tree = site(project, SITE | {"content/zh-cn/docs/b.md": "乱码".encode("gbk"), "content/en/docs/b.md": "B"})
    through_dvc(project, "crawl", {"crawl": {"tree": tree}}, "b.md")
    assert not (project.root / "data/pages.parquet").exists()


def test_broken_front_matter_is_named_and_the_rest_goes_on(project):
    page = SITE["content/zh-cn/docs/a.md"].replace("title: 甲", 'title: "甲')
    project.set({"crawl": {"tree": site(project, SITE | {"content/zh-cn/docs/a.md": page})}})
    assert project.run("doctune", "source", "update").returncode == 0
    done = project.run("dvc", "repro", "align")
    assert done.returncode == 0 and "warning: a.md:1: broken front matter" in done.stdout, done.stdout
    assert "Pod 在运行。" in (project.root / "data/pairs.jsonl").read_text(encoding="utf-8")


def test_an_empty_corpus(project):
    files = {name: "---\ntitle: A\n---\n\nPods run.\n" for name in SITE}
    through_dvc(project, "align", {"crawl": {"tree": site(project, files)}}, "pair")


def test_a_test_set_that_would_be_empty(project):
    through_dvc(
        project, "split", {"crawl": {"tree": site(project, SITE)}, "split": {"seed": 0}}, "test 0 rows of 0 pages"
    )


def test_all_mistakes_of_params_at_once(project):
    project.set({"train": {"epochs": "many", "colour": 1}, "split": {"test": 2.0}})
    done = project.run("doctune", "run")
    one_line(done, "3 mistake(s)")
    assert all(key in done.stdout for key in ("train.epochs", "train.colour", "split.test"))


def test_a_base_without_weights(project):
    shutil.copytree(project.root / "base", project.root / "bare")
    (project.root / "bare/model.safetensors").unlink()
    through_dvc(project, "base", {"base": {"path": "bare"}}, "has no weights")


def test_no_disk_space(project):
    """A file-size limit stands for a full disk: writes fail half way."""
    project.run("doctune", "source", "update")
    done = project.run(
        "bash",
        "-c",
        "ulimit -f 4; trap '' XFSZ; python -m tasks.crawl --lock source.lock.yaml --pages data/pages.parquet --since data/since.parquet --report reports/crawl.json",
    )
    one_line(done, "free some space")
    assert not list(project.root.glob("data/*")) and not list(project.root.glob("data/.*tmp"))


def test_an_output_below_a_file(project):
    folder = site(project, SITE)
    pages = [f"{folder}/content/{lang}/docs" for lang in ("en", "zh-cn")]
    one_line(
        project.run("doctune", "align", *pages, "-o", "README.md/pairs.jsonl"), "could not write README.md/pairs.jsonl"
    )


def test_texts_that_are_not_utf8(project):
    one_line(project.run("bash", "-c", r"printf '\xc2\xd2' | doctune translate"), "texts in UTF-8 from standard input")


def test_mlflow_that_does_not_answer(project):
    (project.root / "data/splits").mkdir(parents=True)
    for name in ("train", "valid"):
        (project.root / f"data/splits/{name}.jsonl").write_text(
            '{"en": "Pods run.", "zh": "Pod 在运行。"}\n', encoding="utf-8"
        )
    done = project.run(
        "python",
        "-m",
        "tasks.train",
        "--base",
        "base",
        "--splits",
        "data/splits",
        "--out",
        "models/tuned",
        "--curves",
        "reports/curves.csv",
        "--report",
        "reports/train.json",
        MLFLOW_TRACKING_URI="http://127.0.0.1:9",
        timeout=600,
    )
    one_line(done, "127.0.0.1:9")
    assert not (project.root / "models/tuned").exists()
