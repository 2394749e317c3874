"""Pure functions that decide: numbers and limits in, gates out.

    gates = judge(evidence, params)
    gates[3]                  # Gate("structure", wanted="at least 90.00", got="87.31", passed=False, short="2.69 too low")
    refused(gates)            # "structure 87.31, wanted at least 90.00 (2.69 too low); ..."

A first champion is asked the absolute gates only. A limit on a number that nobody measured is an error, never a pass.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, nan
from typing import Any

from doctune.errors import DoctuneError
from doctune.promotion.params import PromoteParams


@dataclass(frozen=True)
class Gate:
    """One thing asked, in words that need nothing else; `short` says by how much it was missed."""

    gate: str
    wanted: str
    got: str
    passed: bool
    short: str = ""

    @property
    def row(self) -> dict[str, Any]:
        """As the report wants it."""
        return {"gate": self.gate, "wanted": self.wanted, "got": self.got, "passed": self.passed}

    @property
    def text(self) -> str:
        how = "passed" if self.passed else f"failed, {self.short}" if self.short else "failed"
        return f"{self.got}, wanted {self.wanted}: {how}"


@dataclass(frozen=True)
class Against:
    """The candidate beside the champion on the same rows."""

    version: str
    bleu_gain: float
    p_value: float
    worse: Mapping[
        str, float
    ]  # by metric: how much worse than the champion, in the metric's own points; below 0: better
    scores: Mapping[str, float]


@dataclass(frozen=True)
class Evidence:
    """All numbers that gates ask for. `None` is what was not measured."""

    smoke: Sequence[str]  # what was wrong with the smoke set's translations
    scores: Mapping[str, float]  # of what ships, by the names of metrics.json
    parity: float | None = None  # BLEU of PyTorch minus BLEU of what ships
    leaked: int | None = None
    other_splits: str | None = None  # why the version is not of these splits; None: it is
    general: float | None = None  # chrF of what ships on general text, and of the base
    general_base: float | None = None
    rolled_back: str | None = None  # when and why
    against: Against | None = None  # None: nobody is champion


def judge(evidence: Evidence, params: PromoteParams) -> tuple[Gate, ...]:
    """Every gate that applies, in the order in which people read them."""
    return tuple([*_absolute(evidence, params), *_relative(evidence.against, params)])


def refused(gates: Sequence[Gate]) -> str:
    """The failed gates in one line; empty when all passed."""
    return "; ".join(
        f"{gate.gate} {gate.got}, wanted {gate.wanted}" + (f" ({gate.short})" if gate.short else "")
        for gate in gates
        if not gate.passed
    )


def _absolute(evidence: Evidence, params: PromoteParams) -> Iterator[Gate]:
    wrong = "; ".join(evidence.smoke)
    yield Gate("smoke", "a Chinese translation of each sentence", wrong or "all translated", not wrong)
    if evidence.rolled_back is not None:
        yield Gate("rolled back", "a version that was not rolled back", evidence.rolled_back, False)
    if params.max_leaked is not None:
        same = evidence.other_splits is None
        yield Gate("splits", "trained on these splits", "yes" if same else f"no: {evidence.other_splits}", same)
        leaked = _measured("max_leaked", "leaked", evidence.leaked)
        yield _at_most("leakage", leaked, params.max_leaked, " test rows in train", 0)
    if params.max_int8_loss is not None:
        loss = _measured("max_int8_loss", "parity", evidence.parity)
        yield _at_most("parity", loss, params.max_int8_loss, " BLEU below PyTorch")
    for metric, least in params.floors.items():
        yield _at_least(metric, _score(evidence.scores, metric, "floors"), least)
    for metric, most in params.ceilings.items():
        yield _at_most(metric, _score(evidence.scores, metric, "ceilings"), most)
    if params.max_general_loss is not None:
        ours = _measured("max_general_loss", "general text (evaluate.general)", evidence.general)
        base = _measured("max_general_loss", "the base's score on general text", evidence.general_base)
        yield _at_most("forgetting", base - ours, params.max_general_loss, " chrF below the base on general text")


def _relative(against: Against | None, params: PromoteParams) -> Iterator[Gate]:
    if against is None:
        return
    over = f"version {against.version}"
    if params.min_bleu_gain is not None:
        yield _at_least(
            "gain", _measured("min_bleu_gain", "BLEU", against.bleu_gain), params.min_bleu_gain, f" BLEU over {over}"
        )
    if params.max_p_value is not None:
        passed = against.p_value <= params.max_p_value and against.bleu_gain > 0
        wanted = f"a gain over {over} with p at most {params.max_p_value:g}"
        got = f"{against.bleu_gain:+.2f} BLEU, p = {against.p_value:.4f}"
        yield Gate("significance", wanted, got, passed)
    for metric, most in params.losses.items():
        yield _at_most(f"{metric} loss", _score(against.worse, metric, "losses"), most, f" worse than {over}")


def _at_least(name: str, got: float, least: float, unit: str = "", digits: int = 2) -> Gate:
    passed = got >= least
    short = "" if passed else f"{least - got:.{digits}f} too low"
    return Gate(name, f"at least {least:.{digits}f}", f"{got:.{digits}f}{unit}", passed, short)


def _at_most(name: str, got: float, most: float, unit: str = "", digits: int = 2) -> Gate:
    got += 0.0  # -0.0 becomes 0.0
    passed = got <= most
    short = "" if passed else f"{got - most:.{digits}f} too high"
    return Gate(name, f"at most {most:.{digits}f}", f"{got:.{digits}f}{unit}", passed, short)


def _score(scores: Mapping[str, float], metric: str, limits: str) -> float:
    if not isfinite(scores.get(metric, nan)):
        raise DoctuneError(
            f"promote.{limits} of params.yaml asks for the metric {metric!r}, which was not measured; measured are "
            f"{', '.join(sorted(scores)) or 'none'}; name one of these, or take it out"
        )
    return scores[metric]


def _measured(limit: str, what: str, value: float | int | None) -> float:
    if value is None or not isfinite(value):
        raise DoctuneError(
            f"promote.{limit} of params.yaml asks for {what}, which was not measured; make it measurable, or set "
            f"promote.{limit} to null, which is no gate"
        )
    return value
