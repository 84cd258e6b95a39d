"""What takes time, measured: whatever is slow is a warning with its name; what is asked of the database is counted, too."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import structlog
from prometheus_client import Counter, Histogram

SLOW_S = 1.0
# Every service level is the edge of a bucket.
BUCKETS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.5, 1, 3, 5)
QUERIES = Counter("db_queries_total", "What the database was asked, by outcome", ["operation", "outcome"])
DURATIONS = Histogram("db_query_duration_seconds", "Time until the database answered", ["operation"], buckets=BUCKETS)

lines = structlog.get_logger()


@contextmanager
def operation(name: str, **fields: object) -> Iterator[None]:
    """Warn if the block takes long."""
    began = time.perf_counter()
    try:
        yield
    finally:
        _note(name, time.perf_counter() - began, fields)


@contextmanager
def query(name: str, **fields: object) -> Iterator[None]:
    """Count what the block asks of the database, and warn if it takes long."""
    began = time.perf_counter()
    outcome = "ok"
    try:
        yield
    except Exception:
        outcome = "failed"
        raise
    finally:
        duration = time.perf_counter() - began
        queries, durations = _metrics(name, outcome)
        queries.inc()
        durations.observe(duration)
        _note(name, duration, fields)


@lru_cache
def _metrics(name: str, outcome: str) -> tuple[Counter, Histogram]:
    return QUERIES.labels(name, outcome), DURATIONS.labels(name)


def _note(name: str, duration: float, fields: dict[str, object]) -> None:
    if duration > SLOW_S:
        lines.warning("slow operation", operation=name, duration_ms=round(duration * 1000, 2), **fields)
