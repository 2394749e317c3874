"""The order of things in a promotion: lock, look, judge, record, and only then the alias.

    decision = promote(store, "doctune", "challenger", knobs, places)
    if decision.verdict == "refused":
        print(decision.text)                 # a line a gate, and by how much it was missed

A version that was refused is not judged again while nothing that decided it has changed, unless it did not run. `force` (a reason) promotes in
spite of failed gates, but never what does not run.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from doctune.errors import DoctuneError
from doctune.files import hash_path, hash_text
from doctune.promotion.evidence import Knobs, Places, gather, page
from doctune.promotion.gates import Evidence, Gate, judge, refused
from doctune.promotion.shipped import DoesNotRun
from doctune.registry.champions import DECISION, ROLLED_BACK, champion_of, move, promotion_lock, record
from doctune.registry.store import Store
from doctune.registry.versions import DATA_HASH, ONNX_HASH, Version, resolve, shipped_of
from doctune.tables import literal, markdown_table

Verdict = Literal["passed", "refused", "forced", "champion"]
REFUSED_EXIT_CODE = 3  # not 1: scripts tell a refusal from something that went wrong


@dataclass(frozen=True)
class Decision:
    """What was decided of a version and why; `champion` is the version that it was judged against."""

    name: str
    version: str
    champion: str | None
    verdict: Verdict
    gates: tuple[Gate, ...]
    reason: str  # of --force
    at: str
    key: str
    numbers: Mapping[str, Any]

    @property
    def judged(self) -> bool:
        """Whether the version ran, and so was measured: what did not run may run the next time."""
        return bool(self.numbers)

    @property
    def sentence(self) -> str:
        """The outcome in one line."""
        this = f"version {self.version} of {self.name}"
        match self.verdict:
            case "passed":
                after = f", after version {self.champion}" if self.champion else ", the first"
                return f"{this} passed {len(self.gates)} gates and is champion{after}"
            case "forced":
                return (
                    f"{this} is champion by force ({self.reason}), though refused: {refused(self.gates) or 'nothing'}"
                )
            case "champion":
                return f"{this} is champion already"
            case _:
                champion = f"version {self.champion} stays champion" if self.champion else "there is no champion yet"
                return f"{this} was refused: {refused(self.gates)}; {champion}"

    @property
    def text(self) -> str:
        """For a terminal: a line a gate, then the outcome."""
        width = max((len(gate.gate) for gate in self.gates), default=0)
        lines = [f"{'ok  ' if gate.passed else 'FAIL'}  {gate.gate:<{width}}  {gate.text}" for gate in self.gates]
        return "\n".join([*lines, self.sentence]) + "\n"

    @property
    def markdown(self) -> str:
        rows = [(gate.gate, gate.got, gate.wanted, "passed" if gate.passed else "**failed**") for gate in self.gates]
        cells = [tuple(text if text == "**failed**" else literal(text) for text in row) for row in rows]
        table = [markdown_table(("gate", "got", "wanted", ""), cells), ""] if cells else []
        return "\n".join([*table, f"{literal(self.sentence)}."]) + "\n"


def promote(
    store: Store,
    name: str,
    wanted: str,
    knobs: Knobs,
    places: Places,
    force: str | None = None,
    say: Callable[[str], None] = print,
    stopped: Callable[[], bool] = lambda: False,
) -> Decision:
    """Judge the version with this number or alias, and make it champion if it passes, or by force with a reason.

    The decision is in the version's tags before the alias moves. DoctuneError where something could not be judged, or was
    `stopped` meanwhile: then nothing was decided.
    """
    if force is not None and not force.strip():
        raise DoctuneError("wanted a reason for --force, got none; it is kept with the decision, say why")
    with promotion_lock(store, name):
        candidate, champion = resolve(store, name, wanted), champion_of(store, name)
        shipped_of(candidate)
        key = _key(candidate, champion, knobs, places)
        before = recorded(candidate)
        if champion is not None and champion.number == candidate.number:
            gates, numbers = (before.gates, before.numbers) if before else ((), {})
            return Decision(name, candidate.number, champion.number, "champion", gates, "", _now(), key, numbers)
        if force is None and before is not None and before.judged and before.verdict == "refused" and before.key == key:
            say(f"version {candidate.number} was judged at {before.at}, and nothing has changed since")
            return before
        say(
            f"judging version {candidate.number} against {f'champion {champion.number}' if champion else 'no champion'}"
        )
        gates, numbers, shown = _judge(store, candidate, champion, knobs, places, force, say)
        if stopped():
            raise DoctuneError(
                f"version {candidate.number} of {name} was not decided on: the run was cancelled meanwhile"
            )
        passed = all(gate.passed for gate in gates)
        verdict: Verdict = "passed" if passed else "forced" if force is not None and numbers else "refused"
        decision = Decision(
            name,
            candidate.number,
            champion.number if champion else None,
            verdict,
            gates,
            (force or "").strip() if verdict == "forced" else "",
            _now(),
            key,
            numbers,
        )
        record(store, name, candidate.number, asdict(decision), {_tag(gate): gate.text for gate in gates}, shown)
        if verdict != "refused":
            how = "passed its gates" if passed else f"forced: {decision.reason}"
            move(store, name, candidate.number, champion.number if champion else None, how)
    return decision


def recorded(version: Version) -> Decision | None:
    """The decision in a version's tags; None where there is none that can be read."""
    try:
        plain = json.loads(version.tags[DECISION])
        return Decision(**{**plain, "gates": tuple(Gate(**gate) for gate in plain["gates"])})
    except (KeyError, TypeError, ValueError):
        return None


def _judge(
    store: Store,
    candidate: Version,
    champion: Version | None,
    knobs: Knobs,
    places: Places,
    force: str | None,
    say: Callable[[str], None],
) -> tuple[tuple[Gate, ...], dict[str, Any], str]:
    """Gates, numbers (none where the candidate does not even run), and the page to look at."""
    unjudged: list[Gate] = []
    try:
        try:
            evidence, evaluation = gather(store, candidate, champion, knobs, places)
        except DoesNotRun:
            raise
        except DoctuneError as error:
            if force is None or champion is None:
                raise
            say(f"judged without the champion: {error}")
            unjudged = [Gate("champion", f"a comparison with version {champion.number}", str(error), False)]
            evidence, evaluation = gather(store, candidate, None, knobs, places)
    except DoesNotRun as error:
        return (Gate("smoke", "a model that runs in a fresh process", str(error), False),), {}, ""
    gates = (*judge(evidence, knobs.promote), *unjudged)
    return gates, _numbers(evidence), page(store, evaluation, [gate.row for gate in gates], candidate, knobs)


def _numbers(evidence: Evidence) -> dict[str, Any]:
    return {key: value for key, value in asdict(evidence).items() if value is not None and key != "smoke"}


def _key(candidate: Version, champion: Version | None, knobs: Knobs, places: Places) -> str:
    """Of all that decides: both models, the rows, the limits, doctune's code."""
    import doctune

    evaluate = knobs.evaluate
    parts = [
        candidate.tags.get(ONNX_HASH, ""),
        candidate.tags.get(ROLLED_BACK, ""),
        candidate.tags.get(DATA_HASH, ""),
        f"{champion.number} {champion.tags.get(ONNX_HASH, '')}" if champion else "",
        hash_path(places.splits),
        *(_content(path) for path in (Path(evaluate.general), Path(evaluate.glossary), places.general_base)),
        _content(places.hypotheses),
        *(section.model_dump_json() for section in (knobs.promote, evaluate, knobs.split)),
        hash_path(Path(str(doctune.__file__)).parent),
    ]
    return hash_text(*parts)


def _content(path: Path) -> str:
    """A file's hash; nothing where it is not there, which whoever needs it will say."""
    return hash_path(path) if path.is_file() else ""


def _tag(gate: Gate) -> str:
    return gate.gate.replace(" ", "_")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
