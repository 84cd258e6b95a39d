"""One run: a whole system under load, to which things happen at random that follow from a seed; then all is well again, and
everything that is promised is checked.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

from domain.roles import Role
from tests.conftest import NEIGHBOUR, TENANT
from tests.faults import checks, outside
from tests.faults.breaking import DISPENSABLE, OFTEN, TARGETS
from tests.faults.cluster import PROCESSES, Cluster, cluster
from tests.faults.competition import Competition
from tests.faults.editors import check_locks
from tests.faults.followers import Follower, following
from tests.faults.ledger import Client, Ledger
from tests.faults.load import Load, office
from tests.faults.results import check_competition
from tests.running import until
from tests.views.house import head

VIEWS = (
    (TENANT, "office-1", (Role.VIEWER,), {"trucks": "/trucks", "sites": "/sites"}),
    (TENANT, "office-2", (Role.VIEWER,), {"trucks": "/trucks?status=active", "trips": "/trips?status=started"}),
    (
        TENANT,
        "office-3",
        (Role.VIEWER,),
        {"trucks": "/trucks", "bookings": "/bookings", "inspections": "/inspections", "follow-ups": "/follow-ups"},
    ),
    (TENANT, "driver-0-0", (Role.DRIVER,), {"trucks": "/trucks", "trips": "/trips", "locations": "/locations/latest"}),
    (
        TENANT,
        "leader-red",
        (Role.TEAM_LEADER, Role.DRIVER),
        {"trucks": "/trucks", "bookings": "/bookings", "attachments": "/attachments"},
    ),
    (
        NEIGHBOUR,
        "office-1",
        (Role.VIEWER,),
        {"trucks": "/trucks", "drivers": "/drivers", "locations": "/locations/latest"},
    ),
)


class Scenario:
    """Breaks things for so many seconds, up to three at a time."""

    def __init__(self, seed: int, seconds: float) -> None:
        self._dice, self._seconds, self.seed = random.Random(seed), seconds, seed
        self._waiting = threading.Event()
        self.happened: Counter[str] = Counter()

    def run(self, directory: Path) -> None:
        """Run it over an empty directory. AssertionError: a promise was not kept."""
        print(f"seed {self.seed}, {self._seconds:.0f} s, in {directory}", flush=True)
        ledger, failures = Ledger(), list[BaseException]()
        with cluster(directory) as system:
            load = Load(system, ledger, self.seed)
            load.open()
            competition = Competition(system, ledger, self.seed, load.wait)
            competition.open()
            until(lambda: checks.at_rest(system.settings))
            followers = [self._follower(system, ledger, number) for number in range(len(VIEWS))]
            with following(followers, failures):
                with load.running(competition.steps()):
                    self._break_things(system, load)
                    self._say("all is well again")
                self._say("the load is over")
                until(lambda: checks.at_rest(system.settings))
                self._mark_the_end(system, ledger, competition, followers)
            self._say("every follower has come to the end")
            until(lambda: checks.at_rest(system.settings))
            self._check(system, ledger, load, followers)
            said = competition.grounds.said
            self._say(f"{check_competition(system.settings, said)}; {Counter(one.receipt['outcome'] for one in said)}")
            assert failures + load.failures == []
        self._say(f"{len(ledger.told)} commands; {dict(ledger.statuses)}; {dict(self.happened)}")
        ended = [one for process in system.processes.values() for one in process.unexpected]
        assert ended == [], f"{ended}; their lines are in {system.logs}"
        said = checks.complaints(system.logs)
        assert said == [], "\n".join([f"{len(said)} lines complain; the first ones:", *said[:10]])

    def _follower(self, system: Cluster, ledger: Ledger, number: int) -> Follower:
        tenant, subject, roles, views = VIEWS[number]
        urls, dice = system.urls("read-api"), random.Random(f"{self.seed} follower {number}")
        client = Client(urls, system.settings, ledger, tenant, subject, *roles)
        return Follower(views, client=client, urls=urls, dice=dice, sees_all=Role.VIEWER in roles)

    def _break_things(self, system: Cluster, load: Load) -> None:
        dice, ends = self._dice, time.monotonic() + self._seconds
        names = [name for name in TARGETS if name in system.targets for _ in range(OFTEN.get(name, 1))]
        self._began = time.monotonic()
        while time.monotonic() < ends:
            with ExitStack() as stack:
                said = []
                chosen = dict.fromkeys(dice.choices(names, k=dice.choice([1, 1, 1, 2, 2, 3])))
                # Processes first: who is told to end while the database is silent cannot, until it speaks again.
                for name in sorted(chosen, key=lambda name: name not in PROCESSES):
                    fault = dice.choice(TARGETS[name])
                    stack.enter_context(fault(system, name, dice))
                    said.append(f"{name} {fault.__name__}")
                    self.happened[fault.__name__] += 1
                pause = dice.choice([0.0, dice.uniform(0.1, 1.0), dice.uniform(0.5, 3.0)])
                self._say(f"{', '.join(said)} for {pause:.1f} s")
                self._waiting.wait(pause)
                if chosen.keys() <= DISPENSABLE:
                    load.must_go_on()
            self._waiting.wait(dice.uniform(0.1, 1.5))

    def _mark_the_end(
        self, system: Cluster, ledger: Ledger, competition: Competition, followers: list[Follower]
    ) -> None:
        """Let a truck join that every follower is told of, after everything else; and one before, so that the last event id
        is behind what the first one led to in every view. So with bookings, which come by another way.
        """
        for follower in followers:
            follower.goal = head(system.settings)
        for tenant in (TENANT, NEIGHBOUR):
            admin = office(system, ledger, tenant, "admin")
            for number in (1, 2):
                admin.ask(f"/trucks/END-{number}/register", {"number": f"END-{number}", "plate": f"END-{number}"})
                if tenant == TENANT:
                    competition.book(f"END-{number}", timedelta(days=100 + number))
                until(lambda: checks.at_rest(system.settings))

    def _check(self, system: Cluster, ledger: Ledger, load: Load, followers: list[Follower]) -> None:
        rows = checks.check_log(system.settings)
        checks.check_told(rows, ledger)
        checks.check_views(system.settings)
        checks.check_fixes(system.settings, ledger.fixes)
        checks.check_reactions(system.settings, rows, load.archivist.tenants)
        for follower in followers:
            follower.check()
            follower.check_against_changes(system.settings)
        check_locks(ledger)
        outside.redis_holds_nothing_for_ever(system.settings)
        if "kafka" in system.targets:
            outside.kafka_has_what_is_here(system.settings)
        assert ledger.wrong == [], ledger.wrong[:20]
        assert load.greedy.refused, "who asked for too much was never told to wait"
        self._say(f"{len(ledger.granted)} locks were given, {len(ledger.saved)} saves under them carried out")
        self._say(
            f"{len(rows)} facts, {len(load.archivist.tenants)} organisations of long ago, followers begun "
            f"{[one.begun for one in followers]} times, reset {[one.resets for one in followers]}"
        )

    def _say(self, what: str) -> None:
        print(f"{time.monotonic() - self._began:7.1f} s: {what}", flush=True)
