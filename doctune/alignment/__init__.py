"""Alignment: English and Chinese pages in, pairs of blocks and a report of everything left out.

    pairs, report = align_pages(rows, params)
    pairs[0]
    # {"id": "3f...", "en": "A taint repels Pods.", "zh": "污点会排斥 Pod。", "page": "concepts/taints.md",
    #  "en_lines": [9, 9], "zh_lines": [12, 12], "section": "Taints", "kind": "paragraph", "method": "comment",
    #  "score": 0.98}

`corpus` goes over all pages, `page` aligns one. `titles` reads front matter; `comments` finds the passages whose English
stands beside them, and `blocks` aligns the blocks of one; `structure` aligns what has no comment with the English page.
These two share `likeness` (which of a page's blocks translate each other, by `evidence` and the `lexicon`) and `lattice` (the
best monotone alignment, and how sure it is). `sentences` cuts pairs further. `doctune.cleaning` says what is no training
material.
"""
