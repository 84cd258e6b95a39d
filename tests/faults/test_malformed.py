"""Ten thousand requests that no client of ours would send: each is answered precisely, and nothing has half an effect.

What is asked follows from the OpenAPI documents of both APIs, so what is new in them is asked too. FIELDLOG_FAULTS_SEED repeats
a run, FIELDLOG_FAULTS_REQUESTS makes it larger.
"""

from __future__ import annotations

import os
import random
import socket
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit
from uuid import UUID

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed
from hypothesis import settings as rules
from hypothesis.errors import Unsatisfiable
from schemathesis import APIOperation, Case, GenerationMode

from domain.roles import Role
from infra.local.home import issue_token
from infra.local.postgres import Postgres
from infra.local.redis import RedisServer
from infra.operate import parked
from tests.conftest import TENANT
from tests.faults import checks
from tests.faults.odd import ODD_HEADERS, ODD_TEXTS, RAW, mutated
from tests.redis.conftest import with_redis
from tests.views.conftest import fresh_database, settings_over
from tests.views.house import House, open_house, wait_until_folded
from tests.views.memory import assert_tables_are_the_folds

REQUESTS = int(os.environ.get("FIELDLOG_FAULTS_REQUESTS", "10000"))
SEED = int(os.environ.get("FIELDLOG_FAULTS_SEED", time.time_ns() % 1_000_000))
OWN_ANSWERS = frozenset({"livez", "readyz", "startupz", "metrics", "docs", "openapi.json"})
MUTATIONS_EACH = 6
CHECKS = list(HealthCheck)
EVERYTHING = [Role.ADMIN, Role.AUDITOR]


@dataclass
class Asker:
    """Asks one API, and holds every answer against what is promised of all of them."""

    url: str
    token: str
    dice: random.Random
    session: requests.Session = field(default_factory=requests.Session)
    statuses: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    receipts: dict[int, int] = field(default_factory=dict)

    @property
    def asked(self) -> int:
        """How many requests were answered."""
        return self.statuses.total()

    def case(self, case: Case, documented: set[str]) -> None:
        """Send what was made from the document; now and then without a token."""
        arguments = case.as_transport_kwargs(base_url=self.url)
        arguments["headers"] = dict(arguments["headers"]) | self._authorization()
        self._send(documented, **arguments)

    def body(self, case: Case, documented: set[str]) -> None:
        """Send the case with something wrong in its body, and perhaps in a header."""
        headers = {"Content-Type": "application/json"} | self._authorization()
        path = quote(case.formatted_path, safe="/%:~")
        body = mutated(case.body, self.dice)
        self._send(documented, method=case.method, url=self.url + path, data=body, headers=headers)

    def _authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} if self.dice.random() < 0.97 else {}

    def _send(self, documented: set[str], **arguments: Any) -> None:
        request = requests.Request(**{k: v for k, v in arguments.items() if k in REQUEST_ARGUMENTS}).prepare()
        with self.session.send(request, stream=True, timeout=20, allow_redirects=False) as answer:
            self.statuses[answer.status_code] += 1
            if answer.headers.get("content-type", "").startswith("text/event-stream"):
                return
            if (said := self._wrong_with(answer, documented)) is not None:
                sent = f"{request.method} {request.path_url} {self._shown(request.headers)} {request.body!r:.300}"
                self.wrong.append(f"{said}: {sent} -> {answer.status_code} {answer.text:.400}")

    @staticmethod
    def _shown(headers: Mapping[str, str]) -> dict[str, str]:
        return {name: value for name, value in headers.items() if name not in NOT_SHOWN}

    def _wrong_with(self, answer: requests.Response, documented: set[str]) -> str | None:
        status = answer.status_code
        if urlsplit(answer.url).path.strip("/") in OWN_ANSWERS:
            return None if status < 500 else "a health check failed"
        if status < 400:
            return self._note(answer)
        if str(status) not in documented:
            return "not a documented status"
        return problem_with(status, answer.headers.get("content-type"), answer.json())

    def _note(self, answer: requests.Response) -> str | None:
        if "json" not in answer.headers.get("content-type", ""):
            return None
        document = answer.json()
        if not isinstance(document, dict):
            return None
        items = document.get("items") or []
        shown = [document, *(one.get("receipt") or {} for one in items if isinstance(one, dict))]
        for one in shown:
            if "version" in one and one.get("facts"):  # a receipt
                self.receipts[one["position"]] = len(one["facts"])
        problems = [one["problem"] for one in items if isinstance(one, dict) and "problem" in one]
        return next((said for one in problems if (said := problem_with(one["status"], None, one))), None)


NOT_SHOWN = {"Authorization", "User-Agent", "Accept-Encoding", "Accept", "Connection", "X-Schemathesis-TestCaseId"}
REQUEST_ARGUMENTS = {"method", "url", "headers", "files", "data", "json", "params", "cookies"}


def problem_with(status: int, kind: str | None, document: Any) -> str | None:
    """Say what is wrong with an answer that should be a problem (RFC 9457)."""
    if status >= 500 and document.get("code") != "lagging":
        return "a failure of ours"
    if kind not in (None, "application/problem+json"):
        return "not said to be a problem"
    if document.get("status") != status or not document.get("title") or not document.get("detail"):
        return "not a whole problem"
    if not str(document.get("type", "")).endswith(str(document.get("code"))):
        return "a problem without its type"
    UUID(document["instance"].removeprefix("urn:uuid:"))
    return None


@pytest.fixture(scope="module")
def house(postgres: Postgres, keys: dict[str, str], redis_server: RedisServer) -> Iterator[House]:
    """A house for odd requests; nobody waits long for a position, and none is one too many."""
    unlimited = dict.fromkeys(("limit_requests", "limit_points", "limit_failed_auth"), 0)
    with fresh_database(postgres) as database:
        settings = with_redis(
            settings_over(database, keys), redis_server.url(0), position_wait_seconds=0.05, **unlimited
        )
        with open_house(settings) as house:
            office = house.office()
            for id in ("T1", "0", "a"):
                office.ask(f"/trucks/{id}/register", {"number": id, "plate": id})
            yield house


def token(house: House) -> str:
    return issue_token(house.settings, TENANT, EVERYTHING, "ana", hours=1)


def askers(house: House) -> list[tuple[Asker, list[APIOperation[Any, Any, Any, Any]]]]:
    """Return who asks each API, with the operations of its document."""
    found = []
    for url in (house.write_url, house.read_url):
        schema = schemathesis.openapi.from_dict(requests.get(f"{url}/openapi.json", timeout=20).json())
        operations = [one.ok() for one in schema.get_all_operations()]
        found.append((Asker(url, token(house), random.Random(SEED)), operations))
    return found


def test_every_odd_request_has_its_answer_and_none_has_half_an_effect(house: House) -> None:
    print(f"FIELDLOG_FAULTS_SEED={SEED}")
    before = checks.head(house.settings)
    both = askers(house)
    operations = sum(len(known) for _, known in both)
    for asker, known in both:
        for operation in known:
            ask(asker, operation, max(4, REQUESTS // operations // 6))
    asker, known = both[0]
    commands = [operation for operation in known if operation.method.upper() == "POST"]
    while sum(one.asked for one, _ in both) < REQUESTS:
        ask(asker, asker.dice.choice(commands), 20)
    wrong = [one for asker, _ in both for one in asker.wrong]
    print({asker.url: dict(asker.statuses) for asker, _ in both})
    kinds = Counter(one.partition(" {")[0] for one in wrong)
    assert wrong == [], "\n".join([f"{len(wrong)} answers are wrong: {kinds}; the first ones:", *wrong[:10]])
    assert before + sum(both[0][0].receipts.values()) == checks.head(house.settings), (
        "what was not answered took effect"
    )
    must_be_whole(house)


def ask(asker: Asker, operation: APIOperation[Any, Any, Any, Any], cases: int) -> None:
    """Ask for an operation as its document has it, as it has not, and with bodies that went wrong on the way."""
    documented = {str(status) for status in operation.definition.raw.get("responses", {})}

    def sound(case: Case) -> None:
        asker.case(case, documented)
        if isinstance(case.body, dict):
            for _ in range(MUTATIONS_EACH):
                asker.body(case, documented)

    def wrong(case: Case) -> None:
        asker.case(case, documented)

    for mode, send in ((GenerationMode.POSITIVE, sound), (GenerationMode.NEGATIVE, wrong)):
        rule = rules(
            max_examples=cases, deadline=None, database=None, suppress_health_check=CHECKS, phases=[Phase.generate]
        )
        with suppress(Unsatisfiable):  # an operation without parameters takes nothing wrong
            seed(asker.dice.randrange(1_000_000))(rule(given(operation.as_strategy(generation_mode=mode))(send)))()


def must_be_whole(house: House) -> None:
    """Check that the log can be read, and that every view is its fold."""
    checks.check_log(house.settings)
    wait_until_folded(house.settings)
    assert parked(house.settings) == []
    assert_tables_are_the_folds(house.settings)
    office = house.person(*EVERYTHING)
    after, read = 0, 0
    while items := office.see(f"/log?after={after}&limit=1000")["items"]:
        after, read = items[-1]["position"], read + len(items)
    assert read == checks.head(house.settings)


def raw(url: str, request: bytes, patience_s: float = 10.0) -> bytes:
    """Send bytes and return what comes back, up to the end of the first answer."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=5) as phone:
        with suppress(ConnectionError):
            phone.sendall(request)
        answer = b""
        with suppress(TimeoutError, ConnectionError):
            phone.settimeout(patience_s)
            while (part := phone.recv(65_536)) and len(answer) < 200_000:
                answer += part
                if ends(answer):
                    break
    return answer


def ends(answer: bytes) -> bool:
    """Say whether an answer is there as a whole."""
    head, found, body = answer.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.lower().splitlines() if line.startswith(b"content-length:")]
    return bool(found) and (not lengths or len(body) >= int(lengths[0]))


@pytest.mark.parametrize("name", ODD_HEADERS, ids=bytes.decode)
def test_every_odd_header_has_its_answer(house: House, name: bytes) -> None:
    head = checks.head(house.settings)
    good = b"" if name == b"Authorization" else f"Authorization: Bearer {token(house)}\r\n".encode()
    typed = b"" if name == b"Content-Type" else b"Content-Type: application/json\r\n"
    wrong = []
    for text in ODD_TEXTS:
        named = good + name + b": " + text + b"\r\n"
        for url, line, body in (
            (house.write_url, b"POST /trucks/none/activate", typed + b"Content-Length: 2\r\n\r\n{}"),
            (house.read_url, b"GET /trucks?limit=1", b"\r\n"),
            (house.read_url, b"GET /stream?view=trucks", b"\r\n"),
        ):
            answer = raw(url, line + b" HTTP/1.1\r\nHost: x\r\n" + named + body)
            status = int(answer[9:12] or b"0")
            said = b"application/problem+json" in answer or b"Invalid HTTP request" in answer or status < 400
            if not said or not (200 <= status < 500 or (status == 503 and b'"lagging"' in answer)):
                wrong.append((line, text, answer[:600]))
    assert wrong == []
    assert checks.head(house.settings) == head


@pytest.mark.parametrize("name", RAW)
def test_what_is_hardly_a_request_hurts_nobody(house: House, name: str) -> None:
    head = checks.head(house.settings)
    request = RAW[name].replace(b"%(auth)s", f"Authorization: Bearer {token(house)}".encode()).replace(b"%%", b"%")
    for url in (house.write_url, house.read_url):
        answer = raw(url, request, 0.3)  # some of them are never at an end
        assert answer[9:10] in (b"", b"1", b"2", b"4"), answer[:600]
        assert requests.get(f"{url}/livez", timeout=5).json() == {"status": "alive"}
    # An entire command among them may be carried out, or refused; nothing else leaves a trace.
    assert checks.head(house.settings) <= head + 1
