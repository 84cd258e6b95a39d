"""The promises hold while processes and the database are killed, stopped, starved, slowed and cut off, in random order.

FIELDLOG_FAULTS_SEED repeats a run, FIELDLOG_FAULTS_SECONDS makes it longer; `python -m tests.faults` is the same by hand.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path

from tests.faults.scenario import Scenario

SHORT_S = 45.0


def test_what_is_promised_holds_whatever_goes_wrong() -> None:
    seed = int(os.environ.get("FIELDLOG_FAULTS_SEED", time.time_ns() % 1_000_000))
    directory = Path(tempfile.mkdtemp(prefix="fieldlog-faults-"))
    Scenario(seed, float(os.environ.get("FIELDLOG_FAULTS_SECONDS", SHORT_S))).run(directory)
    shutil.rmtree(directory)  # what a run leaves that fails is kept
