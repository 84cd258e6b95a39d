"""What can go wrong, and with whom: a table of targets, each with its faults. A fault lasts as long as its block."""

from __future__ import annotations

import random
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress

import psutil

from tests.faults.cluster import PROCESSES, Cluster

Fault = Callable[[Cluster, str, random.Random], AbstractContextManager[None]]
DUTY_S = 0.02


@contextmanager
def killed(cluster: Cluster, name: str, _: random.Random) -> Iterator[None]:
    """A process is killed, and started again later."""
    part = cluster.parts[name]
    part.kill()
    try:
        yield
    finally:
        part.start()


@contextmanager
def ended(cluster: Cluster, name: str, _: random.Random) -> Iterator[None]:
    """A process is told to end, as at a deploy, and started again later."""
    part = cluster.parts[name]
    part.end()
    try:
        yield
    finally:
        part.start()


@contextmanager
def stopped(cluster: Cluster, name: str, _: random.Random) -> Iterator[None]:
    """A process stands still."""
    part = cluster.parts[name]
    part.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        part.signal(signal.SIGCONT)


@contextmanager
def starved(cluster: Cluster, name: str, dice: random.Random) -> Iterator[None]:
    """A process gets the processor only now and then."""
    over = threading.Event()

    def starve() -> None:
        while not over.wait(DUTY_S):
            with stopped(cluster, name, dice):
                over.wait(4 * DUTY_S)

    thread = threading.Thread(target=starve, name="starve")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextmanager
def slowed(cluster: Cluster, name: str, dice: random.Random) -> Iterator[None]:
    """Every message between a process and the database is late."""
    way = cluster.processes[name].way
    way.delay_s = dice.uniform(0.01, 0.3)
    try:
        yield
    finally:
        way.delay_s = 0.0


@contextmanager
def cut_off(cluster: Cluster, name: str, _: random.Random) -> Iterator[None]:
    """A process loses its connections to the database, and gets none for a while."""
    way = cluster.processes[name].way
    way.closed = True
    way.cut()
    try:
        yield
    finally:
        way.closed = False


@contextmanager
def cut(cluster: Cluster, name: str, _: random.Random) -> Iterator[None]:
    """A process loses its connections to the database, and may have others at once."""
    cluster.processes[name].way.cut()
    yield


@contextmanager
def database_killed(cluster: Cluster, _: str, __: random.Random) -> Iterator[None]:
    """The database is killed, and started again later."""
    cluster.database.kill()
    try:
        yield
    finally:
        cluster.database.start()


@contextmanager
def database_restarted(cluster: Cluster, _: str, __: random.Random) -> Iterator[None]:
    """The database is stopped in order, and started again later."""
    cluster.database.stop()
    try:
        yield
    finally:
        cluster.database.start()


@contextmanager
def database_hurt(cluster: Cluster, _: str, dice: random.Random) -> Iterator[None]:
    """One process of the database is killed, upon which it recovers by itself."""
    cluster.database.kill_one(dice)
    yield


@contextmanager
def database_frozen(cluster: Cluster, _: str, __: random.Random) -> Iterator[None]:
    """The database stands still, and does not know it."""
    frozen = cluster.database.freeze()
    try:
        yield
    finally:
        for one in frozen:
            with suppress(psutil.NoSuchProcess):
                one.resume()


@contextmanager
def flushed(cluster: Cluster, _: str, __: random.Random) -> Iterator[None]:
    """Redis loses everything that it holds."""
    cluster.memory.flush()
    yield


OF_PROCESSES: Sequence[Fault] = (killed, killed, ended, stopped, starved, slowed, cut_off, cut)
# Another service joins with a line here, and with its start and stop in the cluster.
TARGETS: Mapping[str, Sequence[Fault]] = {
    **dict.fromkeys(PROCESSES, OF_PROCESSES),
    "kafka": (killed, ended, stopped, stopped, starved),
    "redis": (killed, ended, stopped, starved, flushed, flushed),
    "database": (database_killed, database_restarted, database_hurt, database_frozen),
}
OFTEN = {"kafka": 2, "redis": 3, "database": 4}
# Without these, everybody still reads and writes.
DISPENSABLE = frozenset({"kafka", "redis", "relay-1", "relay-2"})
