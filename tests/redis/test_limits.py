"""Rate limits: what is counted against whom, what is said of it, and who can pass himself off as somebody else (nobody)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import http_sf
import httpx
import pytest
import redis
from prometheus_client import REGISTRY

from domain.roles import Role
from infra.settings import Settings, networks
from infra.web.proxies import Proxies, caller_of
from tests.conftest import NEIGHBOUR, Database
from tests.redis.conftest import with_redis
from tests.running import until
from tests.test_doors import problem
from tests.views.conftest import settings_over
from tests.views.house import House, Person, serving

QUOTA = {"limit_requests": 5, "limit_points": 20, "limit_failed_auth": 3, "limit_window_seconds": 60}


@pytest.fixture
def settings(database: Database, keys: dict[str, str], redis_url: str) -> Settings:
    """Settings with small quotas."""
    return with_redis(settings_over(database, keys), redis_url, **QUOTA)


@pytest.fixture
def house(settings: Settings) -> Iterator[House]:
    """A house without a projector: what is counted is requests, whatever they are answered."""
    with serving(settings) as house:
        yield house


def said(answer: httpx.Response, name: str) -> dict[str, Any]:
    """Return a list of quotas as structured fields have it: by policy, its parameters."""
    parsed: Any = http_sf.parse(answer.headers[name].encode(), tltype="list")
    return dict(parsed)


def batch(number: int) -> dict[str, Any]:
    now = datetime.now(UTC)
    return {
        "fixes": [
            {"at": (now - timedelta(seconds=n)).isoformat(), "latitude": 46.0, "longitude": 14.5} for n in range(number)
        ]
    }


def count(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_every_answer_says_what_is_left_and_too_much_is_refused_until_it_suffices(house: House) -> None:
    ana = house.person(Role.ADMIN)
    before = count("rate_limited_total", policy="default")
    for left in (4, 3, 2, 1, 0):
        answer = ana.read.get("/trucks")
        assert answer.status_code == 200
        assert said(answer, "ratelimit-policy") == {"default": {"q": 5, "w": 60}}
        assert said(answer, "ratelimit")["default"]["r"] == left
        assert 12 * (4 - left) < said(answer, "ratelimit")["default"]["t"] <= 12 * (5 - left)
    refused = ana.read.get("/trucks")
    document = refused.json()
    assert (refused.status_code, document["status"], document["code"]) == (429, 429, "quota-exceeded")
    assert document["type"] == "https://iana.org/assignments/http-problem-types#quota-exceeded"
    assert document["violated-policies"] == ["default"]
    assert refused.headers["content-type"] == "application/problem+json"
    assert said(refused, "ratelimit")["default"]["r"] == 0
    assert 1 <= int(refused.headers["retry-after"]) == said(refused, "ratelimit")["default"]["t"] <= 12
    assert count("rate_limited_total", policy="default") == before + 1


def test_both_apis_count_together_by_person(house: House) -> None:
    ana = house.person(Role.ADMIN)
    for _ in range(3):
        ana.write.ask("/trucks/T1/activate")
    problem_left = said(ana.read.get("/trucks"), "ratelimit")
    assert problem_left["default"]["r"] == 1
    assert said(house.person(Role.ADMIN, subject="bojan").read.get("/trucks"), "ratelimit")["default"]["r"] == 4
    assert said(house.person(Role.ADMIN, tenant=NEIGHBOUR).read.get("/trucks"), "ratelimit")["default"]["r"] == 4


def test_problems_say_what_is_left_too(house: House) -> None:
    ana = house.person(Role.ADMIN)
    assert said(ana.read.get("/trucks/nowhere"), "ratelimit")["default"]["r"] == 4
    assert said(ana.read.get("/trucks?limit=-1"), "ratelimit")["default"]["r"] == 3
    assert said(ana.write.ask("/trucks/T1/activate"), "ratelimit")["default"]["r"] == 2
    assert said(ana.write.ask("/trucks/T1/register", {"horse": 1}), "ratelimit")["default"]["r"] == 1
    assert said(ana.write.ask("/commands", {"items": 7}), "ratelimit")["default"]["r"] == 0


def test_what_is_free_stays_free(house: House) -> None:
    for url in (house.read_url, house.write_url):
        for path in ("/livez", "/readyz", "/startupz", "/metrics", "/openapi.json", "/docs"):
            for _ in range(7):
                answer = httpx.get(url + path)
                assert answer.status_code in (200, 503), path
                assert "ratelimit" not in answer.headers
    assert httpx.get(f"{house.write_url}/problems/quota-exceeded").status_code == 200


def test_fixes_are_counted_one_by_one_and_not_as_requests(house: House) -> None:
    ana = house.person(Role.ADMIN)
    sent = ana.write.ask("/trips/T1/record-locations", batch(12))
    assert said(sent, "ratelimit-policy") == {"gps": {"q": 20, "w": 60}}
    assert said(sent, "ratelimit")["gps"]["r"] == 8
    items = [
        {"op": "1", "stream": "trips", "id": "T1", "verb": "record-locations", "body": batch(6)},
        {"op": "2", "stream": "trucks", "id": "T1", "verb": "activate"},
    ]
    both = said(ana.write.ask("/commands", {"items": items}), "ratelimit")
    assert (both["gps"]["r"], both["default"]["r"]) == (2, 4)
    refused = ana.write.ask("/trips/T1/record-locations", batch(3))
    assert (refused.status_code, refused.json()["violated-policies"]) == (429, ["gps"])
    assert said(refused, "ratelimit")["gps"]["r"] == 2
    whole = {**items[0], "op": "3", "body": batch(3)}
    refused = ana.write.ask("/commands", {"items": [whole, {**items[1], "op": "4"}]})
    assert refused.json()["violated-policies"] == ["gps"]
    assert said(refused, "ratelimit")["default"]["r"] == 4, "what was refused has cost nothing"


def test_ten_commands_of_a_batch_count_as_a_request(house: House) -> None:
    ana = house.person(Role.ADMIN)
    items = [{"op": str(n), "stream": "trucks", "id": "T1", "verb": "activate"} for n in range(21)]
    assert said(ana.write.ask("/commands", {"items": items}), "ratelimit")["default"]["r"] == 2


def test_a_batch_larger_than_the_quota_takes_all_of_it(house: House) -> None:
    ana = house.person(Role.ADMIN)
    answer = ana.write.ask("/trips/T1/record-locations", batch(30))
    assert (answer.status_code, said(answer, "ratelimit")["gps"]["r"]) == (404, 0)


def test_a_live_stream_counts_once(house: House) -> None:
    ana = house.person(Role.ADMIN)
    with ana.read.http.stream("GET", "/stream?view=trucks") as stream:
        assert stream.status_code == 200
        assert said(stream, "ratelimit")["default"]["r"] == 4
        assert next(stream.iter_lines()).startswith("retry")
    assert said(ana.read.get("/trucks"), "ratelimit")["default"]["r"] == 3


def test_strangers_are_counted_by_their_address_and_hinder_nobody_else(house: House) -> None:
    for url, path in (
        (house.read_url, "/trucks"),
        (house.write_url, "/commands"),
        (house.read_url, "/stream?view=trucks&ticket=x"),
    ):
        method = "POST" if path == "/commands" else "GET"
        stranger = httpx.request(method, url + path, headers={"Authorization": "Bearer x.y.z"})
        problem(stranger, 401, "unauthenticated")
        assert said(stranger, "ratelimit-policy") == {"auth": {"q": 3, "w": 60}}
    refused = httpx.get(f"{house.read_url}/trucks")
    assert (refused.status_code, refused.json()["violated-policies"]) == (429, ["auth"])
    assert house.person(Role.ADMIN).read.get("/trucks").status_code == 200


def test_what_was_used_comes_back_evenly(database: Database, keys: dict[str, str], redis_url: str) -> None:
    settings = with_redis(settings_over(database, keys), redis_url, limit_requests=10, limit_window_seconds=1)
    with serving(settings) as house:
        ana = house.person(Role.ADMIN)
        refused = until(lambda: answer if (answer := ana.read.get("/trucks")).status_code == 429 else None)
        assert refused.headers["retry-after"] == "1"
        assert until(lambda: answer if (answer := ana.read.get("/trucks")).status_code == 200 else None)


def test_what_is_kept_of_a_person_goes_with_his_quota_and_does_not_name_him(house: House, redis_url: str) -> None:
    house.person(Role.ADMIN, subject="ana.novak@example.org").read.get("/trucks")
    with redis.Redis.from_url(redis_url) as client:
        [key] = [key for key in client.scan_iter() if b":limit:" in key]
        assert b"novak" not in key
        assert 0 < client.pttl(key) <= 60_000


def scope(
    peer: str, *headers: tuple[str, str], trusted: str = "10.0.0.0/8,fd00::/8", named: str = "X-Forwarded-For"
) -> Any:
    """Return a request's scope as it is after the proxies were looked at."""
    made: dict[str, Any] = {
        "client": (peer, 4711),
        "scheme": "http",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers],
    }
    Proxies(networks(trusted), named).reveal(made)
    return made


@pytest.mark.parametrize(
    ("peer", "forwarded", "caller"),
    [
        ("198.51.100.7", "203.0.113.9", "198.51.100.7"),  # whoever is no proxy of ours may claim what he likes
        ("10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "1.2.3.4, 203.0.113.9", "203.0.113.9"),  # what stands further left is the caller's own
        ("10.0.0.1", "1.2.3.4, 203.0.113.9, 10.0.0.2", "203.0.113.9"),
        ("10.0.0.1", "203.0.113.9:5123", "203.0.113.9"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", "1.2.3.4, unknown", "10.0.0.1"),
        ("10.0.0.1", "1.2.3.4, nonsense, 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("::ffff:10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("fd00::1", "[2001:db8:1:2:3::4]:443", "2001:db8:1:2::/64"),
    ],
)
def test_only_trusted_proxies_say_who_calls(peer: str, forwarded: str, caller: str) -> None:
    assert caller_of(scope(peer, ("X-Forwarded-For", forwarded))) == caller


def test_several_headers_are_one_list_and_the_header_that_proxies_do_not_write_is_not_believed() -> None:
    two = scope("10.0.0.1", ("X-Forwarded-For", "1.2.3.4"), ("X-Forwarded-For", "203.0.113.9"))
    assert caller_of(two) == "203.0.113.9"
    other = scope("10.0.0.1", ("Forwarded", "for=1.2.3.4"), ("X-Forwarded-For", "203.0.113.9"))
    assert caller_of(other) == "203.0.113.9"


@pytest.mark.parametrize(
    ("forwarded", "caller"),
    [
        ("for=203.0.113.9", "203.0.113.9"),
        ("for=1.2.3.4, proto=https;For=203.0.113.9;by=10.0.0.1", "203.0.113.9"),
        ('for="[2001:db8::4]:47011"', "2001:db8::/64"),
        ("for=1.2.3.4, for=_hidden", "10.0.0.1"),
        ("for=1.2.3.4, by=10.0.0.2", "10.0.0.1"),
    ],
)
def test_the_standard_header_is_understood_where_it_is_the_one(forwarded: str, caller: str) -> None:
    assert caller_of(scope("10.0.0.1", ("Forwarded", forwarded), named="Forwarded")) == caller


def test_the_scheme_is_that_of_the_caller() -> None:
    assert scope("10.0.0.1", ("X-Forwarded-Proto", "https"))["scheme"] == "https"
    assert scope("10.0.0.1", ("X-Forwarded-Proto", "gopher"))["scheme"] == "http"
    assert scope("198.51.100.7", ("X-Forwarded-Proto", "https"))["scheme"] == "http"


def test_behind_a_proxy_each_caller_has_his_own_quota_and_nobody_gets_another_by_claiming(
    settings: Settings,
) -> None:
    with serving(settings.model_copy(update={"trusted_proxies": "127.0.0.0/8"})) as house:

        def ask(forwarded: str) -> httpx.Response:
            return httpx.get(f"{house.read_url}/trucks", headers={"X-Forwarded-For": forwarded})

        for claimed in range(3):
            assert ask(f"192.0.2.{claimed}, 203.0.113.9").status_code == 401
        assert ask("192.0.2.77, 203.0.113.9").status_code == 429
        assert ask("203.0.113.10").status_code == 401


def test_nobody_is_limited_where_the_limit_is_zero(settings: Settings) -> None:
    with serving(settings.model_copy(update={"limit_requests": 0, "limit_failed_auth": 0})) as house:
        ana: Person = house.person(Role.ADMIN)
        for _ in range(10):
            assert "ratelimit" not in ana.read.get("/trucks").headers
            assert httpx.get(f"{house.read_url}/trucks").status_code == 401
