"""Pages of a git repository at a commit: a partial clone without a work tree, read through git's plumbing.

    dirs = {"en": "content/en/docs", "zh": "content/zh-cn/docs"}
    found = read_git("https://github.com/kubernetes/website", commit, "main", dirs)

The clone has depth 1 and no file content but that of the Markdown files in the content folders (`--filter=blob:none`,
then those files in one request). It is kept as a memo in `.doctune/git/<hash of the address>`, where a later crawl
fetches only what is new. Nothing is checked out, so no link, hook, filter or submodule of the repository can act, and
every file is verified against its git id. Deleting a memo changes only time; a damaged one is made anew.
"""

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from doctune.errors import DoctuneError
from doctune.files import hash_text
from doctune.locks import hold
from doctune.retry import patiently
from doctune.sources.pages import MAX_PAGE_BYTES, Found, why_not
from doctune.sources.params import address
from doctune.sources.progress import say
from doctune.sources.run_git import Broken, last_line, local, remote

MEMOS = Path(".doctune/git")
FETCH_SECONDS = 900
_FETCH_OPTIONS = [
    "--quiet",
    "--no-tags",
    "--no-write-fetch-head",
    "--no-recurse-submodules",
    "--no-auto-maintenance",
    "--filter=blob:none",
]
_BY_ID = ("-c", "fetch.negotiationAlgorithm=noop")  # as git itself does: the commits that we have say nothing here
_TREE = "040000"
_NOT_FILES = {"120000": "symlink", "160000": "submodule"}
_REMOTE = "source"  # not origin, for which the user's configuration may hold settings


def read_git(url: str, commit: str, ref: str, dirs: dict[str, str]) -> Found:
    """Read the Markdown files of `dirs` (language -> folder) at `commit`; `ref` is only named in messages.

    Raises DoctuneError when the repository cannot be reached, has no such commit, or lacks a folder.
    """
    where = address(url)
    with _only_user(where) as memo:
        if memo.exists():
            try:
                return _read(memo, where, commit, ref, dirs)
            except Broken as error:
                say(f"{error}: making the memo anew")
        fresh = memo.with_name(memo.name + ".new")
        shutil.rmtree(fresh, ignore_errors=True)
        try:
            local(fresh, ["init", "--quiet", "--bare", "--template=", "--initial-branch=main", str(fresh)])
            found = _read(fresh, where, commit, ref, dirs)
            shutil.rmtree(memo, ignore_errors=True)
            fresh.rename(memo)  # so one that has the memo's name was whole once
        except OSError as error:
            raise DoctuneError(
                f"could not write {fresh}: {error.strerror}; free some space or fix its permissions"
            ) from error
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        return found


@contextmanager
def _only_user(where: str) -> Iterator[Path]:
    """Yield the memo's absolute path while no other process uses it (the lock ends with its process)."""
    memo = MEMOS.resolve() / hash_text(where)[:16]
    with hold(memo.with_name(memo.name + ".lock"), f"to crawl {where}", wait=2 * FETCH_SECONDS, say=say):
        yield memo


def _read(memo: Path, where: str, commit: str, ref: str, dirs: dict[str, str]) -> Found:
    tip = f"refs/doctune/{commit}"  # keeps the commit from being collected, and tells the next crawl that it is here
    if not (kind := _kind(memo, tip)):
        _fetch(memo, where, ["--depth=1", "--refmap=", _REMOTE, f"+{commit}:{tip}"], f"fetching {where} at {ref}")
        kind = _kind(memo, tip)
    if kind != "commit":
        raise DoctuneError(f"wanted a commit, got a {kind}: {commit} of {where}; check crawl.ref")

    found, trees = Found(revision=commit), {}
    wanted: dict[tuple[str, str], str] = {}
    for mode, oid, name in _list(memo, tip, list(dirs.values())):
        if mode == _TREE:
            trees[name] = oid
            continue
        for lang, folder in dirs.items():
            if name.startswith(folder + "/"):
                path = name.removeprefix(folder + "/")
                if reason := _NOT_FILES.get(mode) or why_not(path):
                    found.skip(lang, path, reason)
                else:
                    wanted[lang, path] = oid
    if missing := [folder for folder in dirs.values() if folder not in trees]:
        raise DoctuneError(
            f"wanted the folder(s) {' and '.join(missing)} in {where} at {ref} ({commit[:12]}), "
            "which has none of that name; check crawl.source_dir, crawl.target_dir and crawl.ref"
        )

    oids = sorted(set(wanted.values()))
    if absent := _absent(memo, oids, [trees[folder] for folder in dirs.values()]):
        # All in one request: left to itself, git would ask for them one by one.
        what = f"fetching {len(absent)} pages of {where} at {ref}"
        _fetch(memo, where, ["--stdin", _REMOTE], what, _lines(absent), _BY_ID)
    sizes = _sizes(memo, oids)
    blobs = _blobs(memo, [oid for oid in oids if sizes[oid] <= MAX_PAGE_BYTES])
    for (lang, path), oid in wanted.items():
        if oid in blobs:
            found.raw[lang, path] = blobs[oid]
        else:
            found.skip(lang, path, "too_big")
    return found


def _fetch(memo: Path, where: str, args: list[str], what: str, stdin: bytes = b"", config: Sequence[str] = ()) -> None:
    command = [f"--git-dir={memo}", "-c", f"remote.{_REMOTE}.url={where}", *config, "fetch", *_FETCH_OPTIONS, *args]
    _, err = patiently(lambda: remote(command, where, FETCH_SECONDS, stdin), what)
    if "filtering not recognized" in err:
        say(
            f"{where} does not answer partial clones: fetched every file of the commit instead, which takes longer "
            "(on the far side: git config uploadpack.allowFilter true)"
        )
    elif err.strip():
        say(f"git said while {what}: {last_line(err)}")


def _kind(memo: Path, tip: str) -> str:
    """What the ref stands at ("commit"), or "" when there is none; Broken when that object is gone."""
    return local(memo, ["for-each-ref", "--format=%(objecttype)", tip]).decode("ascii").strip()


def _list(memo: Path, tip: str, folders: list[str]) -> Iterator[tuple[str, str, str]]:
    """Mode, id and path of every folder and file in and above `folders`; Broken when one of the trees is gone."""
    for entry in local(memo, ["ls-tree", "-r", "-t", "-z", "--full-tree", tip, "--", *folders]).split(b"\0"):
        if entry:
            meta, _, name = entry.partition(b"\t")
            mode, _, oid = meta.decode("ascii").split()
            try:
                yield mode, oid, name.decode("utf-8")
            except UnicodeDecodeError:
                raise DoctuneError(f"wanted file names in UTF-8, got {name!r}; rename that file") from None


def _absent(memo: Path, oids: list[str], trees: list[str]) -> list[str]:
    listed = local(memo, ["rev-list", "--objects", "--missing=print", *trees]).decode("utf-8", "replace")
    return sorted({line[1:] for line in listed.splitlines() if line.startswith("?")} & set(oids))


def _sizes(memo: Path, oids: list[str]) -> dict[str, int]:
    out = local(memo, ["cat-file", "--batch-check=%(objectname) %(objecttype) %(objectsize)"], _lines(oids))
    sizes = {}
    for line in out.decode("ascii").splitlines():
        oid, kind, *size = line.split()
        if kind != "blob" or not size:
            raise Broken(f"{memo} lacks {oid} after fetching it; remove that folder and try again")
        sizes[oid] = int(size[0])
    return sizes


def _blobs(memo: Path, oids: list[str]) -> dict[str, bytes]:
    """Read blobs in one process, each verified against its id. Format: `<id> blob <size>`, newline, bytes, newline."""
    out = local(memo, ["cat-file", "--batch"], _lines(oids))
    blobs, at = {}, 0
    for oid in oids:
        end = out.find(b"\n", at)
        header = out[at:end].decode("ascii", "replace").split()
        if end < 0 or header[:2] != [oid, "blob"]:
            raise Broken(f"{memo} gave {header} for {oid}; remove that folder and try again")
        data = out[end + 1 : end + 1 + int(header[2])]
        if hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest() != oid:
            raise Broken(f"{memo} holds other bytes than {oid} stands for; remove that folder and try again")
        blobs[oid] = data
        at = end + 2 + len(data)
    return blobs


def _lines(oids: list[str]) -> bytes:
    return "".join(oid + "\n" for oid in oids).encode("ascii")
