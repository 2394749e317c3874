"""A study: the trials of one sweep in an SQLite file, which a killed sweep goes on with.

    study = open_study(Path(".doctune/sweeps/sweep-3f2a.db"), "sweep-3f2a", fingerprint, train, sweep)
    while trial := study.next_trial():
        study.report(trial, evaluation=1, loss=2.31)          # False: not worth going on
        study.complete(trial)                                 # or pruned(trial), failed(trial, "why")
    study.best()                                              # Result(number=7, state="complete", value=2.18, ...)

Trials run one after another, and whoever runs them holds a lock: a trial found running was cut short, and is tried
again with the same values. What is drawn depends on the trials that ended and nothing else, so a sweep that was
killed draws what an unbroken one would have. (Hyperband alone prunes otherwise after a kill: Optuna chooses a trial's
bracket by its number, and one that is tried again has a new one there.)
"""

import math
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from doctune.errors import DoctuneError, one_line
from doctune.sweeping.params import SweepParams
from doctune.sweeping.space import distributions, starting_values
from doctune.training.params import TrainParams

if TYPE_CHECKING:
    from optuna import Study as OptunaStudy
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial
    from optuna.trial import Trial as OptunaTrial

State = Literal["complete", "pruned", "failed"]

ENOUGH = 8  # complete trials of different losses, to say which knob matters
_FINGERPRINT, _ID, _RETRY_OF, _WHY, _INTERRUPTED = "fingerprint", "id", "retry_of", "why", "interrupted"


@dataclass(frozen=True)
class Trial:
    """One that is to be run. `number` stays the same when it is tried again; `same_as` is an earlier one of its values."""

    number: int
    values: Mapping[str, Any]
    same_as: "Result | None"
    handle: "OptunaTrial"


@dataclass(frozen=True)
class Result:
    """One that ended. `value` is its lowest validation loss, None where it never had one."""

    number: int
    state: State
    value: float | None
    values: Mapping[str, Any]
    evaluations: int
    seconds: float
    why: str


class Study:
    """Made by `open_study`."""

    def __init__(self, study: "OptunaStudy", train: TrainParams, sweep: SweepParams) -> None:
        self._study, self._train, self._sweep = study, train, sweep
        self._space = distributions(sweep)

    @property
    def name(self) -> str:
        return self._study.study_name

    @property
    def id(self) -> str:
        """Of this very study: one that is made anew under the same name has another."""
        return str(self._study.user_attrs[_ID])

    def results(self) -> list[Result]:
        """The trials that ended, by number."""
        return sorted((_result(trial) for trial in self._ended()), key=lambda result: result.number)

    def best(self) -> Result | None:
        """The complete trial of the lowest loss."""
        complete = [result for result in self.results() if result.state == "complete" and result.value is not None]
        return min(complete, key=lambda result: result.value or 0.0, default=None)

    def next_trial(self) -> Trial | None:
        """Draw the next trial, the first being what `train` says now; None when as many as wanted have ended."""
        done = self.results()
        if len(done) >= self._sweep.trials:
            return None
        self._study.sampler = _sampler(self._sweep, len(done))
        handle = self._study.ask(self._space)
        number = _number(handle)
        same = next((r for r in done if r.state != "failed" and dict(r.values) == handle.params), None)
        return Trial(number, handle.params, same, handle)

    def report(self, trial: Trial, evaluation: int, loss: float) -> bool:
        """Note the validation loss at the evaluation of this number (from 1); False when the trial should end here.

        A loss that is no number any more ends it whatever the pruner; after the last evaluation nothing is left to save.
        """
        if not math.isfinite(loss):
            # Diverged since that evaluation, whose own loss stays: Optuna keeps the first of a number.
            trial.handle.report(loss, evaluation + (evaluation in self._reported(trial)))
            return False
        trial.handle.report(loss, evaluation)
        return evaluation >= self._sweep.evaluations or not trial.handle.should_prune()

    def complete(self, trial: Trial) -> Result:
        """The trial ran to its end: its value is its lowest loss."""
        losses = [loss for loss in self._reported(trial).values() if math.isfinite(loss)]
        if not losses:
            return self.failed(trial, "it ended without a validation loss")
        return _result(self._study.tell(trial.handle.number, min(losses)))

    def pruned(self, trial: Trial, why: str) -> Result:
        """The trial was ended early."""
        from optuna.trial import TrialState

        trial.handle.set_user_attr(_WHY, why)
        return _result(self._study.tell(trial.handle.number, state=TrialState.PRUNED))

    def failed(self, trial: Trial, why: str) -> Result:
        """The trial could not be trained, and would not be another time."""
        from optuna.trial import TrialState

        trial.handle.set_user_attr(_WHY, why)
        return _result(self._study.tell(trial.handle.number, state=TrialState.FAIL))

    def repeat(self, trial: Trial) -> Result:
        """Give a trial the end of the earlier one that had the same values: training again would say the same."""
        assert trial.same_as is not None
        for evaluation, loss in self._losses_of(trial.same_as.number).items():
            trial.handle.report(loss, evaluation)
        why = f"the same values as trial {trial.same_as.number}"
        if trial.same_as.state == "pruned":
            return self.pruned(trial, why)
        trial.handle.set_user_attr(_WHY, why)
        return self.complete(trial)

    def importances(self) -> dict[str, float]:
        """How much of the differences in loss each knob accounts for, most first; empty while that would be noise.

        fANOVA (Hutter et al. 2014): of a dozen trials, Optuna's own default (PED-ANOVA) may name a knob that does nothing.
        """
        complete = {result.value for result in self.results() if result.state == "complete"}
        if len(complete) < ENOUGH:
            return {}
        from optuna.importance import get_param_importances

        with _quiet():
            shares = get_param_importances(self._study, evaluator=self._evaluator())
        return {key: float(share) for key, share in shares.items()}

    def pictures(self, folder: Path) -> list[Path]:
        """history.png, and importances.png once they are known: Optuna's own pictures."""
        if self.best() is None:
            return []
        import matplotlib
        import matplotlib.pyplot as pyplot
        from optuna.visualization.matplotlib import plot_optimization_history, plot_param_importances

        wanted = {"history": lambda: plot_optimization_history(self._study)}
        if self.importances():
            wanted["importances"] = lambda: plot_param_importances(self._study, evaluator=self._evaluator())
        made = []
        pyplot.switch_backend("agg")  # no window, and any thread
        for name, plot in wanted.items():
            with _quiet(), matplotlib.rc_context():  # Optuna sets a style for the whole process
                drawn: Any = plot().figure
                drawn.savefig(folder / f"{name}.png", dpi=110, bbox_inches="tight")
                pyplot.close(drawn)
            made.append(folder / f"{name}.png")
        return made

    def _evaluator(self) -> Any:
        from optuna.importance import FanovaImportanceEvaluator

        return FanovaImportanceEvaluator(seed=self._sweep.seed)

    def take_up(self) -> list[int]:
        """Queue anew what a killed sweep had running; and, in a new study, what `train` says now. Returns the numbers."""
        from optuna.trial import TrialState

        taken = []
        if not self._study.trials and (start := starting_values(self._train, self._sweep)) is not None:
            self._study.enqueue_trial(start)
        waiting = {trial.user_attrs.get(_RETRY_OF) for trial in self._study.get_trials(states=(TrialState.WAITING,))}
        for trial in self._study.get_trials(states=(TrialState.RUNNING,)):
            number = _number(trial)
            whole = set(trial.params) == set(self._space)  # else it was killed while it was drawn
            values = (
                trial.params if whole else trial.system_attrs.get("fixed_params")
            )  # what it was queued with, if it was
            if values and number not in waiting:
                self._study.enqueue_trial(values, user_attrs={_RETRY_OF: number})
                taken.append(number)
            self._study.set_user_attr(_INTERRUPTED, [*self._interrupted(), trial.number])
            self._study.tell(trial.number, state=TrialState.FAIL)
        return taken

    def try_again(self, handles: Iterable[int]) -> None:
        """Queue trials anew, given by Optuna's numbers, that ended for a cause which was not theirs."""
        for handle in handles:
            trial = self._study.trials[handle]
            self._study.enqueue_trial(trial.params, user_attrs={_RETRY_OF: _number(trial)})
            self._study.set_user_attr(_INTERRUPTED, [*self._interrupted(), handle])

    def _interrupted(self) -> list[int]:
        """Trials that were tried again, in Optuna's numbers: they failed in its eyes."""
        return list(self._study.user_attrs.get(_INTERRUPTED, []))

    def _ended(self) -> "list[FrozenTrial]":
        from optuna.trial import TrialState

        states = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
        interrupted = self._interrupted()
        return [trial for trial in self._study.get_trials(states=states) if trial.number not in interrupted]

    def _reported(self, trial: Trial) -> dict[int, float]:
        return dict(self._study.trials[trial.handle.number].intermediate_values)

    def _losses_of(self, number: int) -> dict[int, float]:
        found = next(trial for trial in self._ended() if _number(trial) == number)
        return dict(found.intermediate_values)


def open_study(file: Path, name: str, fingerprint: str, train: TrainParams, sweep: SweepParams) -> Study:
    """Open the study `name` in `file`, or make it; refuses one that is of another base, data, code or space."""
    import optuna
    from optuna.storages import RDBStorage
    from sqlalchemy.exc import SQLAlchemyError

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        with _quiet():
            storage = RDBStorage(f"sqlite:///{file.resolve()}")
            study = optuna.create_study(
                storage=storage, study_name=name, direction="minimize", pruner=_pruner(sweep), load_if_exists=True
            )
            if not study.user_attrs.get(_FINGERPRINT):  # new
                study.set_user_attr(_ID, uuid.uuid4().hex)
                study.set_user_attr(_FINGERPRINT, fingerprint)
    except (SQLAlchemyError, RuntimeError, optuna.exceptions.OptunaError) as error:
        raise DoctuneError(
            f"{file} cannot be used as a study ({one_line(error, 200)}); remove it, or give another --name"
        ) from None
    if study.user_attrs[_FINGERPRINT] != fingerprint:
        raise DoctuneError(
            f"study {name} is of another base, data, code, train section or space than there are now; give another --name, "
            f"or remove {file} to start it anew"
        )
    return Study(study, train, sweep)


def _sampler(sweep: SweepParams, ended: int) -> "BaseSampler":
    from optuna.samplers import RandomSampler, TPESampler

    seed = (sweep.seed * 10_007 + ended) % 2**32
    if sweep.sampler == "random":
        return RandomSampler(seed)
    return TPESampler(n_startup_trials=sweep.startup_trials, seed=seed)


def _pruner(sweep: SweepParams) -> "BasePruner":
    from optuna.pruners import HyperbandPruner, MedianPruner, NopPruner

    match sweep.pruner if sweep.prunes else "none":
        case "median":
            return MedianPruner(sweep.startup_trials, n_warmup_steps=sweep.warmup + 1)
        case "hyperband":
            return HyperbandPruner(min_resource=sweep.warmup + 1, max_resource=sweep.evaluations)
        case "none":
            return NopPruner()


def _number(trial: "FrozenTrial | OptunaTrial") -> int:
    """A trial's number, which it keeps when it is tried again."""
    return int(trial.user_attrs.get(_RETRY_OF, trial.number))


def _result(trial: "FrozenTrial") -> Result:
    from optuna.trial import TrialState

    states: dict[TrialState, State] = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned"}
    losses = [loss for loss in trial.intermediate_values.values() if math.isfinite(loss)]
    begin, end = trial.datetime_start, trial.datetime_complete
    return Result(
        number=_number(trial),
        state=states.get(trial.state, "failed"),
        value=min(losses, default=None),
        values=trial.params,
        evaluations=len(trial.intermediate_values),
        seconds=(end - begin).total_seconds() if isinstance(begin, datetime) and isinstance(end, datetime) else 0.0,
        why=str(trial.user_attrs.get(_WHY, "")),
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Optuna calls its pictures, and some of what it stores with, experimental in every process."""
    import warnings

    from optuna.exceptions import ExperimentalWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield
