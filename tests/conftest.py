"""The tests share the cores, and the long files begin first.

Each of pytest-xdist's workers takes its part before it imports torch, with the programs it starts. Without it the OpenMP threads
of one wait in loops that hold the cores the other wants: a training of 6 seconds then takes 50.
"""

import os

import pytest

from doctune.machine import cores

if workers := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores() // int(workers))))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files of end-to-end tests first: minutes long, one begun last would keep a single worker busy at the end."""
    with_fast_tests = {item.path for item in items if item.get_closest_marker("slow") is None}
    items.sort(key=lambda item: item.path in with_fast_tests)
