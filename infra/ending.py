"""The end of a process that was told to end, in any case: whatever dies here is gone on with elsewhere, so what hangs is left."""

from __future__ import annotations

import logging
import os
import threading

log = logging.getLogger(__name__)

LAST_WORK_S = 5.0
BROKEN_OFF = 143  # what a shell says of a process that SIGTERM has ended


def end_within(seconds: float) -> None:
    """End this process if it has not ended by itself in so many seconds, as while its database is silent."""

    def end() -> None:
        log.warning("broken off", extra={"seconds": seconds})
        os._exit(BROKEN_OFF)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
