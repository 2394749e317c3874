"""Pages of a local folder: the same rows as from git, without following any link.

    found = read_tree(Path("examples/site"), {"en": "content/en/docs", "zh": "content/zh-cn/docs"})

Its revision is a hash over language, path and bytes of every page, so it moves exactly when a page does.
"""

import hashlib
import os
import stat
from pathlib import Path

from doctune.errors import DoctuneError
from doctune.sources.pages import MAX_PAGE_BYTES, Found, why_not


def read_tree(root: Path, dirs: dict[str, str]) -> Found:
    """Read the Markdown files of `dirs` (language -> folder below `root`).

    Raises DoctuneError when the root or a content folder does not exist, is a link, or cannot be read.
    """
    if not root.is_dir():
        raise DoctuneError(f"wanted the folder {root}, which does not exist; check crawl.tree")
    missing = [folder for folder in dirs.values() if not _is_plain_folder(root, folder)]
    if missing:
        raise DoctuneError(
            f"wanted the folder(s) {' and '.join(missing)} in {root}, which has none of that name "
            "(links are not followed); check crawl.source_dir and crawl.target_dir"
        )
    found = Found(revision="")
    try:
        for lang, folder in dirs.items():
            _walk(root / folder, "", lang, found)
    except OSError as error:
        raise DoctuneError(f"could not read {error.filename}: {error.strerror}; check its permissions") from error
    digest = hashlib.sha256()
    for (lang, path), raw in sorted(found.raw.items()):
        digest.update(f"{lang}\0{path}\0{len(raw)}\0".encode() + raw)
    found.revision = digest.hexdigest()
    return found


def _is_plain_folder(root: Path, folder: str) -> bool:
    """Whether every step from `root` to `folder` is a real folder and not a link."""
    at = root
    for part in folder.split("/"):
        at = at / part
        if at.is_symlink() or not at.is_dir():
            return False
    return True


def _walk(folder: Path, prefix: str, lang: str, found: Found) -> None:
    with os.scandir(folder) as listing:
        entries = sorted(listing, key=lambda entry: entry.name)
    for entry in entries:
        path = prefix + entry.name
        try:
            path.encode("utf-8")
        except UnicodeEncodeError:
            name = os.fsencode(path)
            raise DoctuneError(f"wanted file names in UTF-8, got {name!r} in {folder}; rename that file") from None
        if entry.is_symlink():
            found.skip(lang, path, "symlink")
        elif entry.is_dir(follow_symlinks=False):
            if entry.name != ".git":  # a repository's own files are no part of its tree
                _walk(folder / entry.name, path + "/", lang, found)
        elif reason := why_not(path):
            found.skip(lang, path, reason)
        else:
            _read(Path(entry.path), path, lang, found)


def _read(file: Path, path: str, lang: str, found: Found) -> None:
    """Read one regular file of bounded size, opened so that no link swapped in meanwhile and no pipe can mislead us."""
    handle = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with open(handle, "rb") as stream:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            found.skip(lang, path, "not_a_file")
            return
        raw = stream.read(MAX_PAGE_BYTES + 1)
    if len(raw) > MAX_PAGE_BYTES:
        found.skip(lang, path, "too_big")
    else:
        found.raw[lang, path] = raw
