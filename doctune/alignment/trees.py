"""Two folders of Markdown, one in each language, aligned: `doctune align`.

pairs, report = align_trees(Path("docs/en"), Path("docs/zh"), params, workers=2)
"""

from pathlib import Path
from typing import Any

from doctune.alignment.corpus import align_pages
from doctune.alignment.page import Pair
from doctune.alignment.params import AlignParams
from doctune.errors import DoctuneError


def align_trees(
    english: Path, chinese: Path, params: AlignParams, workers: int = 1
) -> tuple[list[Pair], dict[str, Any]]:
    """As `align_pages`, of every page below the two folders. A page's own lines tell of the file that it stands in.

    Raises DoctuneError when a folder does not exist, a page is not UTF-8, or no pair is found.
    """
    from doctune.sources.pages import Found, decode
    from doctune.sources.tree import read_tree

    rows = []
    for lang, folder in (("en", english), ("zh", chinese)):
        if not folder.is_dir():
            raise DoctuneError(f"wanted a folder of {lang} pages, got {folder}, which is none; give EN_DIR and ZH_DIR")
        whole = folder.resolve()
        found: Found = read_tree(whole.parent, {lang: whole.name})
        rows += [{"lang": lang, "path": page.path, "text": page.text} for page in decode(found, str(folder))]
    return align_pages(rows, params, workers=workers)
