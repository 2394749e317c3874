"""A handful of sentences that any model must translate before anything else is asked of it.

problems(["Pod 是最小的单元。", "", ...])      # ['"A Service gives a set of Pods one address." became nothing']

Quality is not judged here: what a broken package does is nothing, an error, or English throughout.
"""

from collections.abc import Sequence

from doctune.text import has_cjk

SENTENCES = (
    "Pods are the smallest unit that you can deploy.",
    "A Service gives a set of Pods one address.",
    "Run `kubectl get pods` to list them.",
    "See [Deployments](/docs/concepts/deployments/) for **rolling updates**.",
    "Before you begin",
    "If the container exits, the kubelet starts it again after a while.",
)


def problems(translations: Sequence[str]) -> list[str]:
    """What is wrong with the translations of SENTENCES, in words; nothing: []."""
    if len(translations) != len(SENTENCES):
        return [f"{len(SENTENCES)} sentences became {len(translations)}"]
    found = []
    for source, text in zip(SENTENCES, translations, strict=True):
        if not text.strip():
            found.append(f'"{source}" became nothing')
    chinese = sum(map(has_cjk, translations))
    if 2 * chinese < len(SENTENCES):
        found.append(f"{chinese} of {len(SENTENCES)} translations hold Chinese")
    return found
