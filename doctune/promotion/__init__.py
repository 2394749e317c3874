"""Promotion: the challenger becomes champion only if what it ships passes every gate of params.yaml's `promote` section.

params.py     the limits
gates.py      pure functions: numbers and limits in, gates and a verdict out
smoke.py      a handful of sentences that any model must translate, and what is looked for
shipped.py    a registered model in a process of its own (registry/worker.py); its translations kept by model and text hash
evidence.py   the numbers: candidate, champion and PyTorch on the same test rows
promoting.py  the order of things: lock, judge, record, move

    decision = promote(store, "doctune", "challenger", knobs, places)
    decision.verdict          # "passed", "refused", "forced", or "champion": it was champion already
    decision.gates            # (Gate("structure", wanted="at least 90.00", got="87.31", passed=False, short="2.69 too low"), ...)

Nothing here writes a DVC out or reads the champion in a stage: a promotion makes nothing stale.
"""
