"""Champions against real MLflow: moved, refused when another was faster, rolled back."""

from pathlib import Path

import pytest

from doctune.registry import api as registry
from tests.test_registry import everything, fresh_mlruns, store, write_files

__all__ = ["fresh_mlruns", "store"]  # fixtures


def test_moved_refused_and_rolled_back(store: registry.Store, tmp_path: Path) -> None:
    first = everything(store, write_files(tmp_path / "one"))
    second = everything(store, write_files(tmp_path / "two", "权重二"))
    assert registry.champion_of(store, "doctune") is None
    registry.move(store, "doctune", first.number, None, "passed")
    with pytest.raises(registry.ChampionChanged):
        registry.move(store, "doctune", second.number, None, "judged against nobody")
    registry.move(store, "doctune", second.number, first.number, "passed")
    assert [reign.version for reign in registry.history(store, "doctune")] == ["1", "2"]
    left, now = registry.roll_back(store, "doctune", "译错术语")
    assert (left.number, now.number) == ("2", "1") and "译错术语" in left.tags["doctune.rolled_back"]
    assert [reign.version for reign in registry.history(store, "doctune")] == ["1"]
