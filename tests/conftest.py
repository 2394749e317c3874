"""The cores, shared between pytest-xdist's workers before any of them imports torch, and with the programs they start.

Without it every worker's OpenMP threads wait for one another in loops that hold the cores the other workers want:
a training of 6 seconds then takes 50.
"""

import os

from doctune.machine import cores

if workers := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores() // int(workers))))
