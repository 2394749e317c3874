"""The search for better knobs, without a training: spaces, studies that go on after a kill, and the best as a preset."""

import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from doctune.errors import DoctuneError
from doctune.params import Params, load_preset, preset_names, preset_of, read_params
from doctune.section import validate
from doctune.sweeping.params import SweepParams
from doctune.sweeping.points import read_point, say_point
from doctune.sweeping.preset import check_name, write_preset
from doctune.sweeping.report import Report
from doctune.sweeping.space import check_space, starting_values, trial_params, with_values
from doctune.sweeping.study import Study, open_study
from doctune.training.params import TrainParams

ROOT = Path(__file__).parents[1]
TRAIN = validate(TrainParams, load_preset("embedded")["train"], "train:")
SWEEP = load_preset("embedded")["sweep"]
RATE = {"train.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}}


def sweep(**changes) -> SweepParams:
    return validate(SweepParams, SWEEP | {"space": RATE} | changes, "sweep:")


def test_a_trial_takes_as_much_an_update_as_the_processes_of_the_preset():
    together = TRAIN.model_copy(update={"processes": 4, "gradient_accumulation": 3})
    found = trial_params(together, sweep(), {"train.learning_rate": 1e-3}, "trial 1")
    assert (found.processes, found.gradient_accumulation) == (1, 12)


@pytest.mark.parametrize(
    ("key", "dimension", "message"),
    [
        pytest.param("train.learning_rat", {"low": 0.1, "high": 0.2}, "wanted one knob of train", id="no such knob"),
        pytest.param("crawl.since", {"choices": ["a", "b"]}, "wanted one knob of train", id="not of train"),
        pytest.param("train", {"choices": [1, 2]}, "wanted one knob of train", id="the section itself"),
        pytest.param("train.lora", {"choices": [{}, {"r": 1}]}, "wanted one knob of train", id="a group of knobs"),
        pytest.param("train.lora.r.low", {"low": 1, "high": 2}, "wanted one knob of train", id="below a knob"),
        pytest.param("train.epochs", {"low": 1.0, "high": 9.0}, "sweep.epochs sets it", id="the length of a trial"),
        pytest.param("train.eval_steps", {"low": 1, "high": 9}, "sweep.evaluations sets it", id="when it is evaluated"),
        pytest.param("train.max_length", {"choices": [64, 512]}, "cannot be compared", id="another yardstick"),
        pytest.param("train.patience", {"low": 1, "high": 9}, "changes no trial's validation loss", id="idle in a trial"),
        pytest.param("train.learning_rate", {"low": 0.1, "high": 3.0}, "less than or equal to 1, got 3.0", id="illegal end"),
        pytest.param("train.learning_rate", {"low": 0.2, "high": 0.1}, "wanted low below high", id="upside down"),
        pytest.param("train.weight_decay", {"low": 0.0, "high": 0.1, "log": True}, "low above 0", id="log of nothing"),
        pytest.param("train.lora.r", {"low": 8, "high": 64, "step": 10}, "in whole steps", id="steps that miss the end"),
        pytest.param("train.lora.r", {"low": 8, "high": 64, "step": 0}, "in whole steps", id="no step"),
        pytest.param("train.lora.r", {"low": 8, "high": 64, "step": 8, "log": True}, "log or step", id="log and step"),
        pytest.param("train.lora.r", {"low": 1.5, "high": 64}, "got 1.5", id="a fraction of a whole number"),
        pytest.param("train.schedule", {"low": 1, "high": 2}, "wanted choices", id="a range of words"),
        pytest.param("train.schedule", {"choices": ["linear", "zigzag"]}, "got 'zigzag'", id="illegal choice"),
        pytest.param("train.lora.r", {"choices": [8, 8]}, "wanted each once", id="a choice twice"),
        pytest.param("train.lora.r", {"choices": [8]}, "at least 2 items", id="no choice"),
        pytest.param("train.lora.r", {"from": 1, "to": 2}, "unknown key", id="other words"),
        pytest.param("train.lora.r", 16, "got 16", id="a plain value"),
        pytest.param("train.learning_rate", {"low": 1e-4, "high": math.inf}, "finite", id="no end"),
    ],
)  # fmt: skip
def test_a_space_that_cannot_be_is_refused(key, dimension, message):
    with pytest.raises(DoctuneError) as error:
        sweep(space={key: dimension})
    assert message in str(error.value) and key in str(error.value) and "\n" not in str(error.value)


def test_all_mistakes_of_a_space_are_told_together():
    space = {
        "train.colour": {"choices": ["red", "blue"]},
        "train.learning_rate": {"low": -1.0, "high": 2.0},
        "train.lora.dropout": {"low": 0.0, "high": 0.2},
    }
    with pytest.raises(DoctuneError) as error:
        sweep(space=space, trials=0)
    for said in ("4 mistake(s)", "trials", "train.colour", "got -1.0", "got 2.0"):
        assert said in str(error.value)
    assert "dropout" not in str(error.value)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        pytest.param({"train.lora.r": {"choices": [8, 16]}}, "changes nothing where train.method is full", id="idle"),
        pytest.param({"train.lora.r": {"choices": [8, 16]}, "train.method": {"choices": ["full", "lora"]}}, "", id="used"),
        pytest.param(RATE, "", id="plain"),
    ],
)  # fmt: skip
def test_knobs_that_nothing_reads_are_no_part_of_a_space(space, message):
    if not message:
        return check_space(TRAIN, sweep(space=space))
    with pytest.raises(DoctuneError, match=message):
        check_space(TRAIN, sweep(space=space))


@pytest.mark.parametrize("name", preset_names())
def test_the_space_of_every_preset_can_be_searched(name):
    params = validate(Params, load_preset(name), name)
    check_space(params.train, params.sweep)


@pytest.mark.parametrize(
    ("dimension", "start"),
    [
        pytest.param({"train.learning_rate": {"low": 1e-4, "high": 1e-3}}, 5e-4, id="within"),
        pytest.param({"train.learning_rate": {"low": 1e-3, "high": 1e-2}}, None, id="outside"),
        pytest.param({"train.batch_tokens": {"low": 1024, "high": 4096, "step": 512}}, 2048, id="on a step"),
        pytest.param({"train.batch_tokens": {"low": 1000, "high": 4000, "step": 500}}, None, id="between steps"),
        pytest.param({"train.schedule": {"choices": ["linear", "cosine"]}}, "cosine", id="a choice"),
        pytest.param({"train.schedule": {"choices": ["linear", "warmup_stable_decay"]}}, None, id="no choice"),
        pytest.param({"train.lora.targets": {"choices": [["q_proj"], TRAIN.lora.targets]}},
                     '["q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"]', id="a list"),
    ],
)  # fmt: skip
def test_the_search_sets_out_from_what_train_says(dimension, start):
    found = starting_values(TRAIN, sweep(space=dimension))
    assert found == (None if start is None else {next(iter(dimension)): start})


def test_a_trial_has_the_drawn_values_and_the_length_of_a_trial():
    space = {
        "train.lora.targets": {"choices": [["q_proj"], ["q_proj", "v_proj"]]},
        "train.lora.dropout": {"low": 0.0, "high": 0.2},
    }
    knobs = sweep(space=space, epochs=0.5, max_steps=40)
    values = {"train.lora.targets": '["q_proj", "v_proj"]', "train.lora.dropout": 0.1}
    trial = trial_params(TRAIN, knobs, values, "trial 1")
    assert trial.lora.targets == ["q_proj", "v_proj"] and trial.lora.dropout == 0.1
    assert (trial.epochs, trial.max_steps) == (0.5, 40)
    best = with_values(TRAIN, knobs, values, "trial 1")
    assert best.lora == trial.lora and (best.epochs, best.max_steps) == (TRAIN.epochs, TRAIN.max_steps)


# A loss that is least at a learning rate of 2e-3; what a training of that rate would say at each evaluation.
def loss_at(rate: float, evaluation: int) -> float:
    return 2 + (math.log10(rate) + 2.7) ** 2 + 1 / evaluation


class Killed(Exception):
    pass


def search(study: Study, knobs: SweepParams, kill_in: int | None = None) -> list[float]:
    """Run the study's trials as a flow does; `kill_in` stops at the second evaluation of that trial, as a kill would."""
    drawn = []
    while trial := study.next_trial():
        drawn.append(trial.values["train.learning_rate"])
        if trial.same_as:
            study.repeat(trial)
            continue
        for evaluation in range(1, knobs.evaluations + 1):
            if not study.report(trial, evaluation, loss_at(drawn[-1], evaluation)):
                study.pruned(trial, f"at evaluation {evaluation}")
                break
            if trial.number == kill_in and evaluation == 2:
                raise Killed
        else:
            study.complete(trial)
    return drawn


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_killed_sweep_draws_what_an_unbroken_one_does(tmp_path, sampler):
    knobs = sweep(trials=9, sampler=sampler, startup_trials=3)
    unbroken = open_study(tmp_path / "a.db", "a", "f", TRAIN, knobs)
    assert unbroken.take_up() == []
    search(unbroken, knobs)
    broken = open_study(tmp_path / "b.db", "b", "f", TRAIN, knobs)
    broken.take_up()
    for killed in (0, 6):  # an early one, and one that was drawn by the sampler
        with pytest.raises(Killed):
            search(broken, knobs, kill_in=killed)
        broken = open_study(tmp_path / "b.db", "b", "f", TRAIN, knobs)  # as another process would
        assert broken.take_up() == [killed]
    search(broken, knobs)
    facts = [[(r.state, r.value, dict(r.values)) for r in study.results()] for study in (unbroken, broken)]
    assert facts[0] == facts[1] and len(facts[0]) == 9
    assert facts[0][0][2] == {"train.learning_rate": TRAIN.learning_rate}, "the first is what train says"
    assert broken.next_trial() is None
    assert open_study(tmp_path / "b.db", "b", "f", TRAIN, sweep(trials=10)).next_trial().number > 9, (
        "more were asked for"
    )


@pytest.mark.parametrize("pruner", ["median", "hyperband", "none"])
def test_what_is_not_worth_it_is_pruned(tmp_path, pruner):
    knobs = sweep(trials=14, pruner=pruner, startup_trials=3, warmup=1, sampler="random")
    study = open_study(tmp_path / "study.db", "s", "f", TRAIN, knobs)
    study.take_up()
    search(study, knobs)
    pruned = [result for result in study.results() if result.state == "pruned"]
    assert bool(pruned) == (pruner != "none")
    assert all(1 < result.evaluations < knobs.evaluations for result in pruned), "neither in the warm-up nor at the end"
    best = study.best()
    assert best.state == "complete" and best.value == min(r.value for r in study.results() if r.state == "complete")


@pytest.mark.parametrize("evaluation", [pytest.param(2, id="an evaluation's"), pytest.param(1, id="after one")])
def test_a_loss_that_is_no_number_ends_a_trial_at_once(tmp_path, evaluation):
    """A divergence between two evaluations is kept beside the loss before it."""
    study = open_study(tmp_path / "study.db", "s", "f", TRAIN, sweep(pruner="none"))
    trial = study.next_trial()
    assert study.report(trial, 1, 2.5) and not study.report(trial, evaluation, math.nan)
    result = study.pruned(trial, "at evaluation 2 of 6")
    assert (result.state, result.value, result.evaluations) == ("pruned", 2.5, 2)
    assert [math.isnan(loss) for loss in study._losses_of(0).values()] == [False, True]
    assert study.best() is None


def test_values_that_were_tried_are_not_trained_again(tmp_path):
    rates = [TRAIN.learning_rate, 1e-2]
    knobs = sweep(trials=8, space={"train.learning_rate": {"choices": rates}}, startup_trials=1, warmup=0)
    study = open_study(tmp_path / "study.db", "s", "f", TRAIN, knobs)
    study.take_up()
    drawn = search(study, knobs)
    results = study.results()
    trained = [result for result in results if not result.why.startswith("the same values as")]
    assert len(drawn) == len(results) == 8 and len(trained) == len(set(drawn)) == 2
    for result in results:
        first = next(other for other in trained if other.values == result.values)
        assert (result.state, result.value) == (first.state, first.value)


def test_trials_that_failed_for_another_s_cause_are_tried_again(tmp_path):
    study = open_study(tmp_path / "study.db", "s", "f", TRAIN, sweep(trials=3))
    study.take_up()
    trials = []
    for _ in range(3):
        trials.append(study.next_trial())
        study.failed(trials[-1], "no space left on device")
    study.try_again(trial.handle.number for trial in trials)
    again = open_study(tmp_path / "study.db", "s", "f", TRAIN, sweep(trials=3))
    assert again.take_up() == [] and again.results() == []
    for trial in trials:
        retried = again.next_trial()
        assert (retried.number, retried.values) == (trial.number, trial.values)
        again.failed(retried, "still none")
    assert again.next_trial() is None and [result.number for result in again.results()] == [0, 1, 2]


def test_what_was_queued_is_not_lost_by_a_kill_while_it_is_drawn(tmp_path):
    study = open_study(tmp_path / "study.db", "s", "f", TRAIN, sweep())
    study.take_up()
    study._study.ask()  # running, and nothing drawn yet
    again = open_study(tmp_path / "study.db", "s", "f", TRAIN, sweep())
    assert again.take_up() == [0]
    first = again.next_trial()
    assert (first.number, first.values) == (0, {"train.learning_rate": TRAIN.learning_rate})


@pytest.mark.parametrize(("pruner", "warmup"), [("median", 5), ("hyperband", 5), ("hyperband", 9)])
def test_a_warm_up_that_leaves_nothing_to_prune_prunes_nothing(tmp_path, pruner, warmup):
    knobs = sweep(trials=6, pruner=pruner, startup_trials=1, warmup=warmup, sampler="random")
    assert not knobs.prunes and sweep(warmup=4).prunes
    study = open_study(tmp_path / "study.db", "s", "f", TRAIN, knobs)
    study.take_up()
    search(study, knobs)
    assert {result.state for result in study.results()} == {"complete"}


@pytest.mark.parametrize("seed", [429_197, 2**32 - 1])
def test_any_seed_draws(tmp_path, seed):
    study = open_study(tmp_path / "study.db", "s", "f", TRAIN, sweep(seed=seed))
    assert study.next_trial() is not None


@pytest.mark.parametrize("knobs", [{"max_steps": 0}, {"seed": 2**32}])
def test_knobs_that_no_sweep_can_have_are_refused(knobs):
    with pytest.raises(DoctuneError, match=next(iter(knobs))):
        sweep(**knobs)


def test_a_failed_trial_is_told_and_tried_no_more(tmp_path):
    study = open_study(tmp_path / "study.db", "s", "f", TRAIN, sweep())
    study.take_up()
    result = study.failed(study.next_trial(), "not enough memory")
    assert (result.number, result.state, result.value, result.why) == (0, "failed", None, "not enough memory")
    again = open_study(tmp_path / "study.db", "s", "f", TRAIN, sweep())
    assert again.take_up() == [] and again.next_trial().number == 1


def test_another_s_study_is_refused(tmp_path):
    made = open_study(tmp_path / "study.db", "s", "one", TRAIN, sweep())
    assert open_study(tmp_path / "study.db", "s", "one", TRAIN, sweep()).id == made.id
    with pytest.raises(DoctuneError, match="study s is of another base, data, code, train section or space"):
        open_study(tmp_path / "study.db", "s", "two", TRAIN, sweep())
    (tmp_path / "broken.db").write_text("这不是数据库。" * 200, encoding="utf-8")
    with pytest.raises(DoctuneError, match="cannot be used as a study"):
        open_study(tmp_path / "broken.db", "s", "one", TRAIN, sweep())


@pytest.mark.slow
def test_the_report_says_what_was_found_and_what_matters(tmp_path):
    space = RATE | {"train.weight_decay": {"low": 0.0, "high": 0.1}}
    knobs = sweep(trials=12, space=space, pruner="none", startup_trials=12)
    study = open_study(tmp_path / "study.db", "s", "f", TRAIN, knobs)
    study.take_up()
    assert study.pictures(tmp_path) == [] and study.importances() == {}, "nothing is known yet"
    search(study, knobs)
    shares = study.importances()
    assert shares["train.learning_rate"] > 0.5 and math.isclose(sum(shares.values()), 1)
    report = Report(study.results(), study.best(), shares, starting_values(TRAIN, knobs))
    text = report.text()
    assert f"best of 12 trials (12 complete): trial {study.best().number}, validation loss" in text
    assert f"as params.yaml was: trial 0, validation loss {loss_at(TRAIN.learning_rate, 6):.4f}" in text
    assert len(text.splitlines()) == 1 + 12 + 1 + 3 and "| trial | state |" in report.markdown()
    assert report.table()["number"] == list(range(12))
    for picture in study.pictures(tmp_path):
        assert picture.read_bytes().startswith(b"\x89PNG")
    assert {path.name for path in tmp_path.glob("*.png")} == {"history.png", "importances.png"}


@pytest.fixture
def presets(tmp_path, monkeypatch) -> Path:
    (tmp_path / "presets").mkdir()
    for file in (ROOT / "presets").glob("*.yaml"):
        (tmp_path / "presets" / file.name).write_bytes(file.read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path / "presets"


@pytest.mark.parametrize("start", preset_names())
def test_the_best_becomes_a_preset_that_gives_it(presets, start):
    params = validate(Params, load_preset(start), start)
    values = {key: dimension.values[0] for key, dimension in params.sweep.space.items()}
    best = params.model_copy(update={"train": with_values(params.train, params.sweep, values, "best")})
    path = write_preset("better", best, ["Study s.", "Best: trial 7."])
    assert validate(Params, load_preset("better"), "better") == best
    text = path.read_text(encoding="utf-8")
    assert "# Best: trial 7." in text and "bootstrap_samples" not in text, "only what differs"


def test_a_preset_of_a_person_is_never_overwritten(presets):
    params = read_params(ROOT / "params.yaml")
    better = params.model_copy(update={"train": params.train.model_copy(update={"learning_rate": 1e-3})})
    path = write_preset("better", better, ["one"])
    write_preset("better", better, ["two"])
    assert "# two" in path.read_text(encoding="utf-8"), "its own it may"
    path.write_text(path.read_text(encoding="utf-8").replace("0.001", "0.002"), encoding="utf-8")
    changed = path.read_text(encoding="utf-8")
    for name in ("better", "embedded"):
        with pytest.raises(DoctuneError, match="was not written by a sweep, or changed since"):
            write_preset(name, better, ["three"])
    assert path.read_text(encoding="utf-8") == changed
    for name in ("Better", "../better", ""):
        with pytest.raises(DoctuneError, match="lower-case letters"):
            check_name(name)


@settings(deadline=None, max_examples=10)  # each reads two files of YAML
@given(st.integers(1, 64), st.floats(1e-5, 1.0), st.sampled_from(["/docs/", "/guide/"]), st.booleans())
def test_what_differs_laid_over_embedded_gives_it_back(rank, rate, link, sentences):
    values = load_preset("embedded")
    values["train"]["lora"]["r"], values["train"]["learning_rate"] = rank, rate
    values["base"]["links"] = {link: "/zh" + link}
    values["align"]["sentences"] = sentences
    params = validate(Params, values, "made")
    laid = load_preset("embedded")
    from doctune.params import _merge

    _merge(laid, preset_of(params), "made")
    assert validate(Params, laid, "laid") == params


def test_points_travel_as_lines(capsys):
    say_point({"step": 4, "eval_loss": 2.5, "evaluation": 1})
    say_point({"step": 5, "eval_loss": math.nan})
    first, second = capsys.readouterr().out.splitlines()
    assert read_point(first) == {"step": 4, "eval_loss": 2.5, "evaluation": 1}
    assert math.isnan(read_point(second)["eval_loss"])
    assert read_point("step 5/18 (27 %)  验证") is None


@pytest.mark.parametrize(("steps", "evaluations"), [(18, 4), (7, 7), (5, 8), (1, 3), (1000, 6)])
def test_evaluations_are_numbered_by_their_share_of_the_work(steps, evaluations):
    from transformers import TrainerControl, TrainerState

    from doctune.sweeping.trial import Milestones

    milestones, numbers = Milestones(evaluations), []
    for step in range(1, steps + 1):
        control = TrainerControl()
        milestones.on_step_end(None, TrainerState(global_step=step, max_steps=steps), control)
        assert control.should_evaluate == control.should_save
        if control.should_evaluate:
            numbers.append(milestones.number(step, steps))
    assert numbers == sorted(set(numbers)) and numbers[-1] == evaluations
    assert len(numbers) == min(steps, evaluations)
