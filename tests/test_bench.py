"""What a benchmark keeps: a killed run goes on, and what other code or another machine measured does not count."""

import json

import pytest

from bench.train import Kept


@pytest.mark.parametrize(
    ("before", "wanted"),
    [
        pytest.param({}, 1.0, id="what this code measured here is not measured again"),
        pytest.param({"code": "other"}, 2.0, id="other code is measured anew"),
        pytest.param({"processor": "other"}, 2.0, id="another machine is measured anew"),
        pytest.param({"updates": 12}, 2.0, id="other work is measured anew"),
        pytest.param({"round": 2}, 2.0, id="another round is measured anew"),
    ],
)
def test_a_killed_benchmark_goes_on(tmp_path, before, wanted):
    path = tmp_path / "kept.jsonl"
    Kept(path, updates=60).measure("side", 1, lambda: {"tokens_per_second": 1.0})
    record = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(record | before) + "\n", encoding="utf-8")
    found = Kept(path, updates=60).measure("side", 1, lambda: {"tokens_per_second": 2.0})
    assert found == {"tokens_per_second": wanted}
    assert len(path.read_text(encoding="utf-8").splitlines()) == wanted
