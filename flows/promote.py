"""Promotion as a Prefect flow, and as the last task of the pipeline's: what a version's gates said, and who is champion now.

    from flows.run import run_promotion
    decision = run_promotion("challenger", force=None, name=None)      # what `doctune promote` does
    decision.verdict                                                  # "passed", "refused", "forced" or "champion"

A refusal is an answer, not a failure: the flow ends as Completed, and its artifact `promotion` has every gate's number.
It reads what stages left and writes none of it, so DVC finds the pipeline as it was.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from doctune.errors import DoctuneError
from flows.child import Stop
from flows.graph import Dag, options_of
from flows.pipeline import on_this_checkout

if TYPE_CHECKING:
    from doctune.promotion.promoting import Decision


NEEDED = ("evaluate", "register", "export")  # stages whose commands name the files that promotion reads


@flow(name="promote", persist_result=False)
def promote(version: str = "challenger", force: str | None = None, name: str | None = None) -> Any:
    """Judge a registered version by the gates of params.yaml's `promote` section, and make it champion if it passes.

    version: number or alias. force: a reason to promote in spite of failed gates, kept with the decision.
    name: of the registered model; by default the one in params.yaml.

    Returns a Decision, of a refusal too. Failed where the version could not be judged; Cancelled where the run was, before
    anything was decided.
    """
    return on_this_checkout(lambda root, _run_id, stop: decide(root, Dag(root).commands(), stop, version, force, name))


def decide(
    root: Path,
    commands: dict[str, str],
    stop: Stop,
    version: str = "challenger",
    force: str | None = None,
    name: str | None = None,
) -> "Decision":
    """Promote on the files that the stages' commands name, and show the decision as an artifact of this flow run."""
    from doctune.params import read_params
    from doctune.promotion.evidence import Knobs, Places
    from doctune.promotion.promoting import promote as judge_and_move
    from doctune.promotion.shipped import JUDGED
    from doctune.registry.store import connect

    params = read_params()
    if missing := [name for name in NEEDED if name not in commands]:
        raise DoctuneError(
            f"wanted the stages {', '.join(NEEDED)} in dvc.yaml, got none named {' or '.join(missing)}; promotion reads their files"
        )
    register, export, evaluate = (options_of(commands[name]) for name in ("register", "export", "evaluate"))
    places = Places(
        splits=Path(register["splits"]),
        hypotheses=Path(export["hypotheses"]),
        general_base=Path(evaluate["general-base"]),
        export_report=Path(export["report"]),
        memo=JUDGED,
    )
    knobs = Knobs(params.promote, params.evaluate, params.split)
    say = get_run_logger().info
    registered = name or params.registration.name
    decision = judge_and_move(connect(root), registered, version, knobs, places, force, say, stop.requested)
    say("%s", decision.sentence)
    create_markdown_artifact(decision.markdown, key="promotion", description="What each gate said, and who is champion")
    return decision


@dataclass(frozen=True)
class Outcome:
    """Promotion at the end of a pipeline run: what it said, as Markdown, the version with its aliases, or what went wrong."""

    markdown: str
    version: str | None = None
    error: str = ""


def promote_in_pipeline(root: Path, commands: dict[str, str], stop: Stop) -> Outcome:
    """Judge the challenger as a task of the running flow, unless that was done and nothing has changed since."""
    from flows.reconcile import note_promotion, settled_promotion

    if missing := [name for name in NEEDED if name not in commands]:
        return Outcome(f"Not judged: dvc.yaml has no stage {' and no '.join(missing)}.\n")
    register, export = commands["register"], commands["export"]
    outcome: list[Outcome] = []

    @task(name="promote", task_run_name="promote", cache_policy=NO_CACHE, persist_result=False)
    def judge() -> State:
        if said := settled_promotion(root, register, export):
            outcome.append(Outcome(said))
            return Completed(name="Cached", message="nothing changed")
        try:
            decision = decide(root, commands, stop)
            settled = decision.judged or decision.verdict == "champion"
            version = note_promotion(root, register, export, decision.markdown if settled else None)
        except DoctuneError as error:
            outcome.append(Outcome("", error=str(error)))
            return Failed(message=str(error))
        outcome.append(Outcome(decision.markdown, version))
        return Completed(name="Refused" if decision.verdict == "refused" else "Completed", message=decision.sentence)

    state = judge(return_state=True)  # in this thread, where an interrupt ends it before anything is decided
    if not outcome:
        state.result()  # raises what went wrong
    return outcome[0]
