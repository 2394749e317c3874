"""Terms: whether the Chinese renders the terms of the English as a glossary wants it.

    breakdown(["该结点有一个污点。"], [""], ["The node has a taint."])
    # [{"term": "node", "of": 1, "right": 0, "forbidden": 1, "found": "结点"}, {"term": "taint", "of": 1, "right": 1, ...}]

glossary.yaml    the project's own glossary, with its version, licences and attribution
glossary.py      a glossary read and checked
inflection.py    the forms of an English word
finding.py       the terms of an English text
judging.py       which of them a Chinese text renders right
metric.py        the share of them as a metric of scoring, and the same by term
"""

from doctune.terms.metric import TERMS, breakdown

__all__ = ["TERMS", "breakdown"]
