"""`doctune lint FILE...`: findings of files, of the Markdown below folders, or of standard input, printed a line each.

docs/pods.md:12:8: you: 您, wanted 你
"""

import json
import sys
from pathlib import Path

from doctune.errors import DoctuneError
from doctune.files import whole_file
from doctune.lint.page import fix_page, lint_page, place
from doctune.sources.pages import ENDINGS


def lint_all(files: list[str], as_json: bool, fix: bool) -> int:
    """Print the findings of all files and return how many there are; with `fix`, those that are left."""
    count = 0
    for name in [page for given in files for page in _pages(given)]:
        source = _read(name)
        if fix:
            mended = fix_page(source)
            if name == "-":
                sys.stdout.write(mended)
            elif mended != source:
                file = Path(name).resolve()  # so that a link stays one
                with whole_file(file) as tmp:
                    tmp.write_bytes(mended.encode())
                    tmp.chmod(file.stat().st_mode)
            source = mended
        for found in lint_page(source):
            count += 1
            line, column = place(source, found.start)
            row = {"file": name, "line": line, "column": column, "rule": found.rule, "message": found.message}
            text = (
                json.dumps(row, ensure_ascii=False)
                if as_json
                else f"{name}:{line}:{column}: {found.rule}: {found.message}"
            )
            print(text, file=sys.stderr if fix and name == "-" else sys.stdout)
    return count


def _pages(name: str) -> list[str]:
    """What a name on the command line stands for: itself, or every page below it that is no link, as in a crawl."""
    if name == "-" or not Path(name).is_dir():
        return [name]
    files = (path for path in Path(name).rglob("*") if path.is_file() and not path.is_symlink())
    pages = sorted(str(path) for path in files if path.suffix in ENDINGS)
    if not pages:
        raise DoctuneError(
            f"{name}: wanted a folder with pages ({', '.join(ENDINGS)}; links are not followed), found none below it; "
            "check the path"
        )
    return pages


def _read(name: str) -> str:
    """A file as it is, line ends too, so that a mend changes nothing else."""
    try:
        return (sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()).decode("utf-8")
    except UnicodeDecodeError as error:
        raise DoctuneError(
            f"{name}: wanted text in UTF-8, got other bytes ({error.reason}); convert it first"
        ) from None
    except OSError as error:
        raise DoctuneError(f"{name}: wanted a Markdown file, got {error.strerror}; check the path") from None
