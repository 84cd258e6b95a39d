"""Log lines: JSON on standard output, one line a request; tokens, keys and positions never stand in them."""

from __future__ import annotations

import logging
import sys
from typing import Any

import msgspec
import structlog

REDACTED = frozenset({"authorization", "token", "ticket", "password", "latitude", "longitude", "fixes"})


def _redact(_: Any, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    for name in REDACTED & event.keys():
        event[name] = "redacted"
    return event


def _render(_: Any, __: str, event: structlog.typing.EventDict) -> str:
    return msgspec.json.encode(event, enc_hook=repr).decode()


class Lines(structlog.WriteLogger):
    """Writes lines to standard output. One that cannot be written, as while a disk is full, is lost, and fails nothing."""

    def msg(self, message: str) -> None:
        """Write a line."""
        try:
            super().msg(message)
        except OSError:
            return

    debug = info = warning = error = critical = msg


CHAIN: list[structlog.typing.Processor] = [
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
    _redact,
]


def configure(level: str) -> None:
    """Let every logger of this process write JSON lines."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), structlog.stdlib.add_logger_name, *CHAIN],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                _render,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("uvicorn.access", "httpx", "kafka", "psycopg", "psycopg.pool"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    structlog.configure(
        processors=[*CHAIN, _render],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=lambda *_: Lines(),
        cache_logger_on_first_use=True,
    )
