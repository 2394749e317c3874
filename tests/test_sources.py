"""Sources: locking a moving ref, reading a commit through git's plumbing, reading a folder, and what each refuses."""

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import doctune.retry
from doctune.errors import DoctuneError
from doctune.files import read_json
from doctune.locks import hold
from doctune.retry import Transient, patiently
from doctune.section import validate
from doctune.sources import (
    CrawlParams,
    Page,
    load_pages,
    locked,
    read_pages,
    read_since,
    resolve,
    update,
    write_pages,
)
from doctune.sources.git import MEMOS, read_git

LOCK = Path("source.lock.yaml")
DIRS = {"en": "content/en/docs", "zh": "content/zh-cn/docs"}
ZH = "---\ntitle: 节点\n---\n<!--\nA node runs your containers.\n-->\n节点负责运行你的容器。\n"
SITE: dict[str, str | bytes] = {
    "content/en/docs/nodes.md": "# Nodes\n\nA node runs your containers.\n",
    "content/en/docs/tasks/drain.md": "# Drain a node\n",
    "content/en/docs/picture.png": b"\x89PNG\x00",
    "content/zh-cn/docs/nodes.md": ZH,
    "content/zh-cn/docs/只有中文.md": "只有中文的页面。\n",
    "content/fr/docs/nodes.md": "# Nœuds\n",
}


def knobs(**changes: Any) -> dict[str, Any]:
    return {
        "source": "git",
        "name": "site",
        "tree": "examples/site",
        "url": "far",
        "ref": "main",
        "since": "",
        "source_dir": "content/en/docs",
        "target_dir": "content/zh-cn/docs",
        "licence": "CC-BY-4.0",
        "attribution": "The Harbour Authors",
        "web": {"rate": 2.0, "max_pages": 100, "content": ["main"], "leave_out": []},
    } | changes


def params(**changes: Any) -> CrawlParams:
    return validate(CrawlParams, knobs(**changes), "crawl:")


def git(where: Path, *args: str, stdin: bytes = b"") -> str:
    who = {f"GIT_{role}_{what}": "t@example.com" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    env = {**os.environ, **who, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C"}
    command = ["git", "-c", "init.defaultBranch=main", *args]
    done = subprocess.run(command, cwd=where, input=stdin, capture_output=True, env=env, check=True)
    return done.stdout.decode().strip()


def put(where: Path, files: Mapping[str, str | bytes]) -> None:
    for name, content in files.items():
        path = where / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def commit(where: Path, files: Mapping[str, str | bytes]) -> str:
    put(where, files)
    git(where, "add", "-A")
    git(where, "commit", "-q", "-m", "change")
    return git(where, "rev-parse", "HEAD")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository that answers partial clones, with SITE as its only commit."""
    path = tmp_path_factory.mktemp("template") / "far"
    path.mkdir()
    git(path, "init", "-q", "--template=")
    git(path, "config", "uploadpack.allowFilter", "true")
    commit(path, SITE)
    return path


@pytest.fixture
def far(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the template, `far` in the working folder."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(template, tmp_path / "far", symlinks=True)
    return tmp_path / "far"


def crawl(**changes: Any) -> tuple[list[Page], dict[str, Any]]:
    """What a scheduled run does: refresh the lock, then read at it."""
    wanted = params(**changes)
    update(wanted, LOCK)
    return read_pages(wanted, locked(wanted, LOCK))


def names(pages: list[Page]) -> list[tuple[str, str]]:
    return [(page.lang, page.path) for page in pages]


SITE_PAGES = [("en", "nodes.md"), ("en", "tasks/drain.md"), ("zh", "nodes.md"), ("zh", "只有中文.md")]


# ---- knobs


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        pytest.param({"url": "--upload-pack=touch x"}, "url: wanted the address", id="url-is-an-option"),
        pytest.param({"url": "ext::sh -c date"}, "url: wanted an https", id="url-runs-a-command"),
        pytest.param({"url": "ssh://-oProxyCommand=date/x"}, "url: wanted a host name", id="host-is-an-option"),
        pytest.param({"url": "https://me:secret@example.com/x"}, "url: wanted no user", id="password-in-url"),
        pytest.param({"url": "https://token@example.com/x"}, "url: wanted no user", id="token-in-url"),
        pytest.param({"url": ""}, "url, ref: wanted both", id="git-without-url"),
        pytest.param({"ref": "--output=x"}, "ref: wanted a branch", id="ref-is-an-option"),
        pytest.param({"ref": "main:refs/heads/x"}, "ref: wanted a branch", id="ref-is-a-refspec"),
        pytest.param({"ref": "rel*"}, "ref: wanted a branch", id="ref-is-a-pattern"),
        pytest.param({"since": "--output=x"}, "since: wanted a branch", id="since-is-an-option"),
        pytest.param({"source": "tree", "since": "v1"}, "since: wanted '' unless source is git", id="since-of-a-tree"),
        pytest.param({"name": "K8s docs"}, "name: wanted lower-case", id="name-is-no-slug"),
        pytest.param({"source_dir": "../docs"}, "source_dir: wanted a path inside", id="folder-outside"),
        pytest.param({"source_dir": "/docs"}, "source_dir: wanted a path inside", id="folder-absolute"),
        pytest.param({"target_dir": "docs/"}, "target_dir: wanted a plain", id="folder-with-slash"),
        pytest.param({"target_dir": "content/en/docs/zh"}, "neither inside", id="folder-in-the-other"),
        pytest.param({"source": "svn"}, "source: ", id="unknown-source"),
        pytest.param({"depth": 1}, "depth: unknown key", id="unknown-key"),
        pytest.param({"tree": ""}, "tree: wanted a local folder", id="no-tree"),
        pytest.param({"licence": "CC BY 4.0"}, "licence: wanted an SPDX", id="licence-is-no-identifier"),
        pytest.param({"attribution": "Ann\nBo"}, "attribution: wanted one line", id="attribution-of-two-lines"),
    ],
)
def test_bad_knobs_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(DoctuneError, match=said) as caught:
        params(**changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/a/b",
        "git@example.com:a/b.git",
        "ssh://git@example.com/a",
        "file:///srv/a.git",
        "../a.git",
        "/srv/a",
    ],
)
def test_usual_addresses_are_taken(url: str) -> None:
    assert params(url=url).url == url


# ---- the lock


def test_a_moved_branch_moves_the_lock_and_nothing_else(far: Path) -> None:
    LOCK.write_text("# what we read\nother:   # keep me\n  tree: examples/site\n")
    first = git(far, "rev-parse", "HEAD")
    old, new = update(params(), LOCK)
    assert (old, new.model_dump(exclude_defaults=True)) == (None, {"url": "far", "ref": "main", "commit": first})
    before = LOCK.stat().st_mtime_ns
    assert update(params(), LOCK) == (new, new)
    assert LOCK.stat().st_mtime_ns == before
    second = commit(far, {"content/en/docs/new.md": "new\n"})
    assert locked(params(), LOCK) == new, "the lock moves by update alone"
    assert update(params(), LOCK)[0] == new
    assert locked(params(), LOCK).model_dump()["commit"] == second
    assert "since" not in LOCK.read_text()
    assert LOCK.read_text().startswith("# what we read\nother:   # keep me\n  tree: examples/site\nsite:\n  url: far\n")


def test_refs_are_resolved_to_commits(far: Path) -> None:
    first = git(far, "rev-parse", "HEAD")
    git(far, "tag", "-a", "v1", "-m", "annotated")
    git(far, "tag", "light")
    git(far, "branch", "both")
    second = commit(far, {"content/en/docs/new.md": "new\n"})
    git(far, "tag", "both")
    git(far, "branch", "team/main", first)
    refs = {"v1": first, "light": first, "both": first, "main": second, "HEAD": second, "refs/tags/both": second}
    assert {ref: resolve("far", ref) for ref in refs} == refs
    assert resolve("far", "team/main") == first
    assert resolve("nowhere", first) == first, "a full commit is taken as it is"
    git(far, "tag", "-f", "-a", "v1", "-m", "moved")
    assert resolve("far", "v1") == second


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        pytest.param({"ref": "gone"}, "far has no branch or tag 'gone'; check crawl.ref", id="no-such-ref"),
        pytest.param(
            {"url": "nowhere"}, "wanted a git repository at nowhere, which does not exist", id="no-such-folder"
        ),
        pytest.param({"url": "empty"}, "wanted a git repository at .*empty, got none", id="no-repository"),
        pytest.param(
            {"url": "file:///nowhere/x.git"}, "wanted a git repository at file:///nowhere/x.git", id="no-such-file-url"
        ),
    ],
)
def test_what_cannot_be_resolved_is_said_at_once(far: Path, changes: dict[str, Any], said: str) -> None:
    Path("empty").mkdir()
    with pytest.raises(DoctuneError, match=said) as caught:
        update(params(**changes), LOCK)
    assert not isinstance(caught.value, Transient)
    assert "\n" not in str(caught.value)
    assert not LOCK.exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(None, "does not exist; run `doctune source update`", id="no-file"),
        pytest.param("", "no entry 'site'.*doctune source update", id="empty-file"),
        pytest.param("other: {tree: x}\n", "no entry 'site'.*doctune source update", id="no-entry"),
        pytest.param(
            f"site: {{url: far, ref: dev, commit: {'a' * 40}}}\n",
            "another source.*doctune source update",
            id="other-ref",
        ),
        pytest.param("site: {tree: examples/site}\n", "another source.*doctune source update", id="other-kind"),
        pytest.param("site: {url: far, ref: main, commit: main}\n", "commit: .*got 'main'", id="commit-is-none"),
        pytest.param("site: {url: far, ref: main}\n", "commit: missing", id="commit-missing"),
        pytest.param(
            f"site: {{url: far, ref: main, commit: {'a' * 40}, since: v1, since_commit: {'b' * 40}}}\n",
            "another source.*'since': ''.*'since': 'v1'.*doctune source update",
            id="older-revision-not-asked-for",
        ),
        pytest.param("- site\n", "wanted a mapping", id="a-list"),
        pytest.param("site: [\n", "not valid YAML", id="no-yaml"),
    ],
)
def test_a_lock_that_does_not_fit_says_what_to_do(tmp_path: Path, text: str | None, said: str) -> None:
    path = tmp_path / LOCK
    if text is not None:
        path.write_text(text)
    with pytest.raises(DoctuneError, match=said):
        locked(params(), path)


def test_an_older_revision_is_locked_beside_the_commit(far: Path) -> None:
    first = git(far, "rev-parse", "HEAD")
    git(far, "tag", "v1")
    second = commit(far, {"content/en/docs/new.md": "new\n"})
    update(params(), LOCK)
    with pytest.raises(DoctuneError, match="'since': 'v1'.*'since': ''.*doctune source update"):
        locked(params(since="v1"), LOCK)
    _, entry = update(params(since="v1"), LOCK)
    assert locked(params(since="v1"), LOCK) == entry
    assert entry.model_dump() == {"url": "far", "ref": "main", "commit": second, "since": "v1", "since_commit": first}
    with pytest.raises(DoctuneError, match="far has no branch or tag 'v0'; check crawl.since"):
        update(params(since="v0"), LOCK)
    assert locked(params(since="v1"), LOCK) == entry, "a mistake leaves the lock as it was"
    LOCK.write_text(f"site: {{url: far, ref: main, commit: {first}, since: v1}}\n")
    with pytest.raises(DoctuneError, match="since, since_commit: wanted both or neither"):
        locked(params(since="v1"), LOCK)


def test_updates_at_once_lose_no_key(tmp_path: Path) -> None:
    path = tmp_path / LOCK
    sources = [params(source="tree", name=f"site-{i}", tree=f"sites/{i}") for i in range(12)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda source: update(source, path), sources))
    assert [locked(source, path).model_dump() for source in sources] == [{"tree": f"sites/{i}"} for i in range(12)]


# ---- git


def test_git_pages_and_report(far: Path) -> None:
    pages, report = crawl()
    head = git(far, "rev-parse", "HEAD")
    assert names(pages) == SITE_PAGES
    assert {page.revision for page in pages} == {head}
    assert pages[2].text == ZH
    assert report == {
        "source": "git",
        "name": "site",
        "url": "far",
        "ref": "main",
        "revision": head,
        "pages": {"en": 2, "zh": 2},
        "pages_on_both_sides": 1,
        "pages_only_en": 1,
        "pages_only_zh": 1,
        "characters": {"en": 53, "zh": len(ZH) + 9},
        "skipped": {"en": {"not_markdown": 1}, "zh": {}},
        "skipped_files": [],
    }
    assert read_pages(params(), locked(params(), LOCK)) == (pages, report), "a warm memo changes nothing"


def test_pages_of_an_older_revision(far: Path) -> None:
    git(far, "tag", "v1")
    first = git(far, "rev-parse", "HEAD")
    git(far, "rm", "-q", "content/en/docs/tasks/drain.md")
    commit(far, {"content/zh-cn/docs/nodes.md": ZH + "再见。\n"})
    pages, _ = crawl(since="v1")
    older, report = read_since(params(since="v1"), locked(params(since="v1"), LOCK))
    assert names(pages) == [page for page in SITE_PAGES if page != ("en", "tasks/drain.md")]
    assert names(older) == SITE_PAGES and {page.revision for page in older} == {first}
    assert older[2].text == ZH and pages[1].text == ZH + "再见。\n"
    assert report is not None and (report["ref"], report["revision"]) == ("v1", first)
    assert report["pages"] == {"en": 2, "zh": 2}
    update(params(), LOCK)
    assert read_since(params(), locked(params(), LOCK)) == ([], None)


def memo() -> Path:
    [path] = [path for path in MEMOS.iterdir() if path.is_dir()]
    return path


def stored(memo: Path) -> set[str]:
    listed = git(memo, "cat-file", "--batch-all-objects", "--batch-check")
    return {line.split()[0] for line in listed.splitlines() if line.split()[1] == "blob"}


def test_only_the_pages_are_fetched_and_only_once(far: Path) -> None:
    crawl()
    blobs = {path: git(far, "rev-parse", f"HEAD:{path}") for path in SITE}
    wanted = {oid for path, oid in blobs.items() if path.endswith(".md") and not path.startswith("content/fr")}
    assert stored(memo()) == wanted
    packs = set(memo().glob("objects/pack/*.pack"))
    commit(far, {"content/zh-cn/docs/nodes.md": ZH + "再见。\n"})
    pages, _ = crawl()
    assert pages[2].text.endswith("再见。\n")
    assert stored(memo()) == wanted | {git(far, "rev-parse", "HEAD:content/zh-cn/docs/nodes.md")}
    assert packs < set(memo().glob("objects/pack/*.pack")), "the old packs stayed: the memo was added to, not made anew"
    entry = locked(params(), LOCK)
    far.rename("away")
    assert read_pages(params(), entry)[0] == pages, "a warm memo needs no network"


def test_a_repository_that_answers_no_partial_clone_is_fetched_whole_and_aloud(
    far: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    git(far, "config", "uploadpack.allowFilter", "false")
    git(far, "config", "uploadpack.allowAnySHA1InWant", "false")
    old = git(far, "rev-parse", "HEAD")
    commit(far, {"content/en/docs/new.md": "new\n"})
    pages, _ = crawl(ref=old)  # no ref stands at this commit any more
    assert names(pages) == SITE_PAGES
    assert "does not answer partial clones" in capsys.readouterr().err


def test_what_is_no_page_is_skipped_and_counted(far: Path) -> None:
    secret = far.parent / "secret.md"
    secret.write_text("secret")
    os.symlink(secret, far / "content/en/docs/link.md")
    os.symlink("../../..", far / "content/zh-cn/docs/up")
    put(far, {"content/en/docs/big.md": b"x" * 2_000_001, "content/en/docs/just.md": b"x" * 2_000_000})
    git(far, "add", "content")
    git(far, "update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},content/en/docs/module.md")
    git(far, "commit", "-q", "-m", "traps")
    pages, report = crawl()
    assert names(pages) == [("en", "just.md"), *SITE_PAGES]
    assert report["skipped"] == {
        "en": {"not_markdown": 1, "submodule": 1, "symlink": 1, "too_big": 1},
        "zh": {"symlink": 1},
    }
    assert {"lang": "zh", "path": "up", "reason": "symlink"} in report["skipped_files"]


def test_a_forged_tree_cannot_name_a_path_outside(far: Path) -> None:
    """Git itself never writes such a tree, but a hostile repository can hold one."""
    blob = git(far, "rev-parse", "HEAD:content/en/docs/nodes.md")
    entries = b"".join(b"100644 %s\0" % name + bytes.fromhex(blob) for name in (b"a.md", b"b\n.md"))
    inner = git(far, "hash-object", "-t", "tree", "-w", "--literally", "--stdin", stdin=entries)
    outer = b"40000 ..\0" + bytes.fromhex(inner) + b"100644 nodes.md\0" + bytes.fromhex(blob)
    tree = git(far, "hash-object", "-t", "tree", "-w", "--literally", "--stdin", stdin=outer)
    en = git(far, "mktree", stdin=f"040000 tree {tree}\tdocs\n".encode())
    zh = git(far, "rev-parse", "HEAD:content/zh-cn")
    tree = git(far, "mktree", stdin=f"040000 tree {en}\ten\n040000 tree {zh}\tzh-cn\n".encode())
    tree = git(far, "mktree", stdin=f"040000 tree {tree}\tcontent\n".encode())
    git(far, "update-ref", "refs/heads/forged", git(far, "commit-tree", "-m", "forged", tree))
    pages, report = crawl(ref="forged")
    assert [path for lang, path in names(pages) if lang == "en"] == ["nodes.md"]
    assert report["skipped"]["en"] == {"unsafe_path": 2}


@pytest.mark.parametrize(
    ("files", "said"),
    [
        pytest.param(
            {"content/en/docs/a.md": "a"}, r"wanted the folder\(s\) content/zh-cn/docs in .*far at main", id="one"
        ),
        pytest.param({"README.md": "a"}, r"content/en/docs and content/zh-cn/docs in .*far at main", id="both"),
        pytest.param(
            {"content/en/docs/a.md": "a", "content/zh-cn/docs": "../en/docs"}, "content/zh-cn/docs in", id="a-file"
        ),
    ],
)
def test_missing_folders_are_named(far: Path, files: dict[str, str | bytes], said: str) -> None:
    git(far, "rm", "-rq", ".")
    commit(far, files)
    with pytest.raises(DoctuneError, match=said):
        crawl()


def test_a_content_folder_that_is_a_link_is_none(far: Path) -> None:
    git(far, "rm", "-rq", "content/zh-cn/docs")
    (far / "content/zh-cn").mkdir(exist_ok=True)
    os.symlink("../en/docs", far / "content/zh-cn/docs")
    commit(far, {})
    with pytest.raises(DoctuneError, match=r"wanted the folder\(s\) content/zh-cn/docs"):
        crawl()
    with pytest.raises(DoctuneError, match=r"wanted the folder\(s\) content/zh-cn/docs"):
        crawl(source="tree", tree="far")


BAD = {
    "content/zh-cn/docs/gbk.md": "节点".encode("gb18030"),
    "content/zh-cn/docs/utf16.md": "node".encode("utf-16-le"),
    "content/en/docs/latin.md": "Nœud é".replace("œ", "o").encode("latin-1"),
}


@pytest.mark.parametrize("source", ["git", "tree"])
def test_every_page_that_is_not_utf8_is_named(far: Path, source: str) -> None:
    commit(far, BAD)
    with pytest.raises(DoctuneError, match="wanted UTF-8, got 3 page") as caught:
        crawl(source=source, tree="far")
    said = str(caught.value)
    assert all(text in said for text in ("en latin.md (byte 5)", "zh gbk.md (byte 0)", "zh utf16.md (NUL)"))
    assert "\n" not in said


@pytest.mark.parametrize("source", ["git", "tree"])
def test_a_byte_order_mark_is_no_text(far: Path, source: str) -> None:
    commit(far, {"content/en/docs/nodes.md": "\ufeff---\ntitle: Nodes\n---\r\n"})
    assert crawl(source=source, tree="far")[0][0].text == "---\ntitle: Nodes\n---\r\n"


@pytest.mark.parametrize("source", ["git", "tree"])
def test_a_corpus_without_a_page_on_both_sides_is_refused(far: Path, source: str) -> None:
    git(far, "mv", "content/zh-cn/docs/nodes.md", "content/zh-cn/docs/other.md")
    commit(far, {})
    with pytest.raises(
        DoctuneError, match=r"in both languages, got none in .*: 2 in content/en/docs, 2 in content/zh-cn/docs"
    ):
        crawl(source=source, tree="far")


def test_a_commit_that_is_gone_says_update(far: Path) -> None:
    with pytest.raises(DoctuneError, match=r"no such commit.*run `doctune source update`"):
        crawl(ref="1" * 40)
    with pytest.raises(DoctuneError, match="wanted a commit, got a tree"):
        crawl(ref=git(far, "rev-parse", "HEAD^{tree}"))
    assert names(crawl()[0]) == SITE_PAGES


def test_surroundings_do_not_leak_in(far: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run inside a hook (GIT_DIR set), with hooks, templates and a protocol in the user's settings: none counts."""
    hooks, ran, elsewhere = tmp_path / "hooks", tmp_path / "ran", tmp_path / "elsewhere"
    script = f"#!/bin/sh\ntouch {ran}\n"
    put(hooks, {"reference-transaction": script, "hooks/reference-transaction": script})
    for hook in hooks.rglob("reference-transaction"):
        hook.chmod(0o755)
    config = tmp_path / "gitconfig"
    config.write_text(f"[core]\n\thooksPath = {hooks}\n[init]\n\ttemplateDir = {hooks}\n[protocol]\n\tversion = 0\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    monkeypatch.setenv("GIT_DIR", str(elsewhere))
    monkeypatch.setenv("GIT_OBJECT_DIRECTORY", str(elsewhere))
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    assert names(crawl()[0]) == SITE_PAGES
    assert not ran.exists()
    assert not elsewhere.exists()


# ---- the memo


def drop_packs(memo: Path) -> None:
    for pack in memo.glob("objects/pack/*"):
        pack.unlink()


def cut_packs(memo: Path) -> None:
    for pack in memo.glob("objects/pack/*.pack"):
        data = pack.read_bytes()
        pack.chmod(0o644)
        pack.write_bytes(data[: len(data) // 2])


def flip_bytes(memo: Path) -> None:
    for pack in memo.glob("objects/pack/*.pack"):
        data = bytearray(pack.read_bytes())
        data[20:-20] = bytes(byte ^ 0xFF for byte in data[20:-20])
        pack.chmod(0o644)
        pack.write_bytes(data)


def empty(memo: Path) -> None:
    for path in sorted(memo.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


def half_made(memo: Path) -> None:
    empty(memo / "objects")
    memo.rename(memo.with_name(memo.name + ".new"))


@pytest.mark.parametrize(
    ("damage", "moved"),
    [
        pytest.param(drop_packs, False, id="packs-gone"),
        pytest.param(drop_packs, True, id="packs-gone-and-moved"),
        pytest.param(cut_packs, False, id="packs-cut"),
        pytest.param(flip_bytes, False, id="bytes-flipped"),
        pytest.param(flip_bytes, True, id="bytes-flipped-and-moved"),
        pytest.param(empty, False, id="folder-empty"),
        pytest.param(lambda memo: (memo / "config").write_text("[core\n"), False, id="config-broken"),
        pytest.param(lambda memo: (memo / "shallow.lock").touch(), True, id="later-fetch-killed"),
        pytest.param(half_made, False, id="first-fetch-killed"),
    ],
)
def test_a_damaged_memo_changes_only_time(
    far: Path, damage: Callable[[Path], object], moved: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    pages, _ = crawl()
    damage(memo())
    if moved:
        commit(far, {"content/en/docs/drain.md": "# Drain\n"})
    again, report = crawl()
    assert names(again) == sorted([*names(pages), *([("en", "drain.md")] if moved else [])])
    assert [path.suffix for path in MEMOS.iterdir() if path.is_dir()] == [""]
    capsys.readouterr()
    assert crawl() == (again, report)
    assert capsys.readouterr().err == "", "the memo is whole again"


def test_a_killed_crawl_takes_its_git_along_and_the_next_one_works(far: Path) -> None:
    """The far side hangs (it waits on a pipe), the crawl is killed with -9 meanwhile."""
    slow = far.parent / "slow-upload-pack"
    slow.write_text("#!/bin/sh\necho $$ > far.pid\nexec sleep 60\n")
    slow.chmod(0o755)
    head = git(far, "rev-parse", "HEAD")
    code = f"from doctune.sources.git import read_git; read_git('far', '{head}', 'main', {DIRS!r})"
    counts = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "remote.source.uploadpack",
        "GIT_CONFIG_VALUE_0": f"cd {far.parent}; {slow}",
    }
    here = {"PYTHONPATH": str(Path(__file__).parents[1])}
    crawl_process = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, **counts, **here})
    pid_file = far.parent / "far.pid"
    wait_for(lambda: pid_file.exists() and pid_file.read_text().strip() != "")
    gits = [pid for pid in children(crawl_process.pid)]
    assert gits, "the crawl runs git"
    crawl_process.kill()
    crawl_process.wait()
    wait_for(lambda: not any(alive(pid) for pid in gits))
    os.kill(int(pid_file.read_text()), 9)
    assert names(crawl()[0]) == SITE_PAGES


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_second_crawl_waits_for_the_first(far: Path, capsys: pytest.CaptureFixture[str]) -> None:
    crawl()
    head = git(far, "rev-parse", "HEAD")
    with ThreadPoolExecutor(1) as pool:
        with hold(memo().with_name(memo().name + ".lock"), "to be first"):
            second = pool.submit(read_git, "far", head, "main", DIRS)
            time.sleep(0.3)
            assert not second.done()
        assert sorted(second.result(timeout=20).raw) == SITE_PAGES
    assert "waiting to crawl" in capsys.readouterr().err


# ---- the network


@contextmanager
def server(root: Path, failures: int, status: int = 503) -> Iterator[tuple[str, list[str]]]:
    """Git's own smart HTTP backend that first refuses `failures` requests; yields its address and what it was asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            asked.append(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if len(asked) <= failures:
                self.send_error(status)
                return
            path, _, query = self.path.partition("?")
            environment = {
                **os.environ,
                "GIT_PROJECT_ROOT": str(root),
                "GIT_HTTP_EXPORT_ALL": "1",
                "PATH_INFO": path,
                "QUERY_STRING": query,
                "REQUEST_METHOD": self.command,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "CONTENT_LENGTH": str(len(body)),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            }
            done = subprocess.run(["git", "http-backend"], input=body, capture_output=True, env=environment, check=True)
            head, _, content = done.stdout.partition(b"\r\n\r\n")
            headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
            self.send_response(int(headers.pop("Status", "200").split()[0]))
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = answer

        def log_message(self, *args: object) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.server_address[1]}/far/.git", asked
    finally:
        listening.shutdown()
        thread.join()
        listening.server_close()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits between attempts, which take no time here."""
    slept: list[float] = []
    monkeypatch.setattr(doctune.retry, "pause", slept.append)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return slept


def test_a_busy_server_is_asked_again(far: Path, waits: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with server(far.parent, failures=2) as (url, _):
        pages, report = crawl(url=url)
    assert names(pages) == SITE_PAGES
    assert report["url"] == url
    assert len(waits) == 2
    assert waits[0] < waits[1]
    assert "attempt 1 of 4" in capsys.readouterr().err
    wanted = {git(far, "rev-parse", f"HEAD:{path}") for path in SITE if path.endswith(".md") and "/fr/" not in path}
    assert stored(memo()) == wanted, "partial over HTTP too"


@pytest.mark.parametrize(
    ("status", "requests", "said"),
    [
        pytest.param(503, 4, "no connection to .*503.*check crawl.url and the network", id="busy-for-good"),
        pytest.param(404, 1, "wanted a git repository at .*, got none; check crawl.url", id="not-there"),
        pytest.param(403, 1, "does not exist or wants credentials", id="not-for-us"),
    ],
)
def test_only_what_may_pass_is_tried_again(
    far: Path, waits: list[float], status: int, requests: int, said: str
) -> None:
    with (
        server(far.parent, failures=99, status=status) as (url, asked),
        pytest.raises(DoctuneError, match=said) as caught,
    ):
        resolve(url, "main")
    assert len(asked) == requests
    assert len(waits) == requests - 1
    assert "\n" not in str(caught.value)


def test_other_errors_are_not_tried_again(waits: list[float]) -> None:
    calls = []

    def work() -> None:
        calls.append(1)
        raise DoctuneError("for good")

    with pytest.raises(DoctuneError, match="for good"):
        patiently(work, "asking")
    assert (len(calls), waits) == (1, [])


# ---- a local folder


def test_tree_gives_the_same_rows_as_git(far: Path) -> None:
    from_git, _ = crawl()
    from_tree, report = crawl(source="tree", tree="far")
    assert [(p.lang, p.path, p.text) for p in from_tree] == [(p.lang, p.path, p.text) for p in from_git]
    assert report["skipped"] == {"en": {"not_markdown": 1}, "zh": {}}
    assert (report["source"], report["tree"]) == ("tree", "far")


def test_a_tree_revision_moves_with_its_pages_only(far: Path) -> None:
    first = crawl(source="tree", tree="far")[1]["revision"]
    put(far, {"content/en/docs/picture.png": b"other", "content/fr/docs/x.md": "x"})
    assert crawl(source="tree", tree="far")[1]["revision"] == first
    put(far, {"content/en/docs/nodes.md": "# Knoten\n"})
    second = crawl(source="tree", tree="far")[1]["revision"]
    (far / "content/en/docs/nodes.md").rename(far / "content/en/docs/knots.md")
    put(far, {"content/zh-cn/docs/knots.md": ZH})
    third = crawl(source="tree", tree="far")[1]["revision"]
    assert len({first, second, third}) == 3


def test_links_pipes_and_big_files_of_a_tree_are_skipped_and_counted(far: Path) -> None:
    secret = far.parent / "secret"
    put(secret, {"secret.md": "secret"})
    os.symlink(secret / "secret.md", far / "content/en/docs/link.md")
    os.symlink(secret, far / "content/en/docs/folder")
    os.mkfifo(far / "content/en/docs/pipe.md")
    put(far, {"content/zh-cn/docs/big.md": b"x" * 2_000_001, "content/zh-cn/docs/a\nb.md": "x"})
    pages, report = crawl(source="tree", tree="far")
    assert names(pages) == SITE_PAGES
    assert report["skipped"] == {
        "en": {"not_a_file": 1, "not_markdown": 1, "symlink": 2},
        "zh": {"too_big": 1, "unsafe_path": 1},
    }


def test_a_missing_tree_is_named(far: Path) -> None:
    with pytest.raises(DoctuneError, match=r"wanted the folder examples/site, .* check crawl\.tree"):
        crawl(source="tree")


# ---- the rows and the stage


def test_pages_survive_the_file_and_its_bytes_are_stable(tmp_path: Path) -> None:
    pages = [Page("zh", "节点.md", "r", ZH), Page("en", "a.md", "r", "a\r\n"), Page("en", "B.md", "r", "")]
    write_pages(tmp_path / "one.parquet", pages)
    write_pages(tmp_path / "two.parquet", reversed(pages))
    assert load_pages(tmp_path / "one.parquet") == sorted(pages)
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(None, "does not exist; run the stage", id="missing"),
        pytest.param(b"PAR1 not really", "wanted a table with columns lang, path, revision, text", id="broken"),
    ],
)
def test_pages_that_cannot_be_read_say_so(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "pages.parquet"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DoctuneError, match=said):
        load_pages(path)


def test_pages_without_a_column_are_refused(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"lang": ["en"], "path": ["a.md"]}), tmp_path / "pages.parquet")
    with pytest.raises(DoctuneError, match="wanted a table with columns lang, path, revision, text"):
        load_pages(tmp_path / "pages.parquet")


FILES = {
    "lock": LOCK,
    "pages": Path("data/pages.parquet"),
    "since": Path("data/since.parquet"),
    "report": Path("reports/crawl.json"),
}
ARGS = [word for name, path in FILES.items() for word in (f"--{name}", str(path))]


def write_params(**changes: Any) -> None:
    lines = [f"  {key}: {value!r}" for key, value in knobs(**changes).items()]
    Path("params.yaml").write_text("\n".join(["crawl:", *lines, ""]))


def test_the_stage_writes_rows_and_report(far: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tasks.crawl import main

    write_params()
    update(params(), LOCK)
    main(**FILES)
    assert capsys.readouterr().out == "2 English and 2 Chinese pages, 1 on both sides; 1 other files skipped\n"
    assert names(load_pages(FILES["pages"])) == SITE_PAGES
    report = read_json(FILES["report"])
    assert report["pages"] == {"en": 2, "zh": 2}
    assert (report["licence"], report["attribution"]) == ("CC-BY-4.0", "The Harbour Authors")
    assert load_pages(FILES["since"]) == [] and "since" not in report


def test_the_stage_writes_an_older_revision_too(far: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tasks.crawl import main

    git(far, "tag", "v1")
    commit(far, {"content/en/docs/new.md": "new\n"})
    write_params(since="v1")
    update(params(since="v1"), LOCK)
    main(**FILES)
    assert "4 pages at v1, to compare with\n" in capsys.readouterr().out
    assert names(load_pages(FILES["since"])) == SITE_PAGES
    assert ("en", "new.md") in names(load_pages(FILES["pages"]))
    assert read_json(FILES["report"])["since"]["ref"] == "v1"


def test_the_program_ends_with_one_line_when_a_page_is_bad(far: Path) -> None:
    commit(far, BAD)
    write_params()
    update(params(), LOCK)
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run([sys.executable, "-m", "tasks.crawl", *ARGS], env=env, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith("doctune: error: wanted UTF-8, got 3 page(s)")
    assert not Path("data").exists()
    assert not Path("reports").exists()


@pytest.mark.slow
def test_the_kubernetes_docs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real size: cold within 15 s of processor time (git's included), warm within 3 s, and DESIGN.md's counts."""
    shared = Path(os.environ.get("DOCTUNE_SHARED", Path(__file__).parents[2] / "shared")) / "k8s-website.git"
    if not shared.is_dir():
        pytest.skip(f"{shared} is not on this machine")
    monkeypatch.chdir(tmp_path)
    took = []
    for ref in ("snapshot-2025-03-22", "snapshot-2025-10-19", "snapshot-2025-10-19"):
        start = sum(os.times()[:4])
        pages, report = crawl(url=str(shared), ref=ref)
        write_pages(Path("pages.parquet"), pages)
        took.append(sum(os.times()[:4]) - start)
    print(f"cold, another commit, warm: {took}")
    assert report["pages_on_both_sides"] == 1482
    assert took[0] < 15, took
    assert took[2] < 3, took
    assert load_pages(Path("pages.parquet")) == pages
    assert sum("<!--" in page.text for page in pages if page.lang == "zh") > 1000
