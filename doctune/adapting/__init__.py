"""Continued pretraining: a causal base reads the site's own pages before it learns to translate them.

params.py    the `adapt` section
passages.py  a page as the passages that its readers see
texts.py     documents of the pages that are read, without what test and valid hold
heldout.py   what counts as held by test or valid
run.py       documents as rows of tokens, and the training on them
"""
