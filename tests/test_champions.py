"""Champions against real MLflow: moved, refused when another was faster, rolled back."""

from pathlib import Path

import pytest

from doctune.errors import DoctuneError
from doctune.registry import api as registry
from doctune.registry.champions import ChampionChanged, champion_of, history, move
from doctune.registry.store import Store
from tests.test_registry import everything, fresh_mlruns, store, write_files

__all__ = ["fresh_mlruns", "store"]  # fixtures


def test_moved_refused_and_rolled_back(store: Store, tmp_path: Path) -> None:
    first = everything(store, write_files(tmp_path / "one"))
    second = everything(store, write_files(tmp_path / "two", "权重二"))
    assert champion_of(store, "doctune") is None
    move(store, "doctune", first.number, None, "passed")
    with pytest.raises(ChampionChanged):
        move(store, "doctune", second.number, None, "judged against nobody")
    move(store, "doctune", second.number, first.number, "passed")
    assert [reign.version for reign in history(store, "doctune")] == ["1", "2"]
    left, now = registry.roll_back(store, "doctune", "译错术语")
    assert (left.number, now.number) == ("2", "1") and "译错术语" in left.tags["doctune.rolled_back"]
    assert [reign.version for reign in history(store, "doctune")] == ["1"]


def test_nobody_is_led_back_to_what_was_rolled_back(store: Store, tmp_path: Path) -> None:
    """A rollback that is killed marks version 2 and leaves it champion; once 3 is champion, 1 is the one before."""
    versions = [everything(store, write_files(tmp_path / name, name)).number for name in ("一", "二", "三")]
    for number, before in zip(versions, [None, *versions], strict=False):
        move(store, "doctune", number, before, "passed")
        if number == versions[1]:
            store.client.set_model_version_tag("doctune", number, "doctune.rolled_back", "译错术语")
    left, now = registry.roll_back(store, "doctune", "漏译")
    assert (left.number, now.number) == (versions[2], versions[0])

    again = move(store, "doctune", versions[1], versions[0], "forced: 已经改好")
    assert "doctune.rolled_back" not in again.tags, "a champion bears no such mark"


def test_the_history_fits_into_mlflow_s_tables(store: Store, tmp_path: Path) -> None:
    """5,000 characters on PostgreSQL; SQLite would take more."""
    one, two = (everything(store, write_files(tmp_path / name, name)).number for name in ("一", "二"))
    before = None
    for turn in range(24):
        number = (one, two)[turn % 2]
        move(store, "doctune", number, before, f"{turn} " + "理由" * 400)
        before = number
    model = store.client.get_registered_model("doctune")
    assert len(model.tags["doctune.champions"]) <= 5000
    reigns = history(store, "doctune")
    assert reigns[-1].how.startswith("23 ") and len(reigns) > 5


def test_a_name_that_is_no_file_s_is_one_line(store: Store) -> None:
    with pytest.raises(DoctuneError, match="wanted the name of a registered model"):
        registry.roll_back(store, "org/model", "译错")
