"""A page as the passages that its readers see, in order, each as one text.

    passages("zh", "## 调度\\n\\n<!--\\nA Pod binds.\\n-->\\nPod 绑定到\\n节点。\\n\\n```sh\\nkubectl get po\\n```\\n")
    # ["调度", "Pod 绑定到节点。", "```sh\\nkubectl get po\\n```"]

Text is what training pairs hold of it: no block syntax, hard-wrapped lines joined, inline Markdown kept. Code stays as it
stands. Comments are left out (in a Chinese page they hold the English), and so are front matter and shortcodes.
"""

from doctune.markdown import TEXT_KINDS, Document
from doctune.text import Lang, flatten


def passages(lang: Lang, page: str) -> list[str]:
    """The passages of a page's source; never fails, whatever the source."""
    found = []
    for block in Document(page).blocks():
        if block.kind in TEXT_KINDS:
            found.append(flatten(block.text, lang))
        elif block.kind == "code":
            found.append(block.text.strip("\n"))
    return [text for text in found if text.strip()]
