"""Whose tokens are accepted: those that the identity provider signed for us, that are good now, and say whose they are."""

from __future__ import annotations

import hmac
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

import httpx
import pytest
from joserfc import jwk
from joserfc.jwk import Key

from domain.roles import Role
from infra.database import LOGINS
from infra.local.postgres import Postgres
from infra.settings import Settings
from read_api.app import ReadApi
from tests.conftest import TEMPLATE
from tests.identity_provider import HOUR_S, claims, key_set, new_key, put_together, serving, signed
from tests.serving import served
from write_api.app import WriteApi

ALGORITHMS = ("ES256", "ES384", "EdDSA", "Ed25519", "PS256", "RS256")
KEYS = {algorithm: new_key(algorithm) for algorithm in ALGORITHMS}
OURS, STRANGER = KEYS["ES256"], new_key()
LONG_AGO, SOON = int(time.time()) - 2 * HOUR_S, int(time.time()) + HOUR_S
Answers = tuple[httpx.Response, httpx.Response]


class House(NamedTuple):
    """Both APIs, whose tokens come from an identity provider at a URL."""

    write: str
    read: str

    def ask(self, token: str | None, scheme: str = "Bearer", **headers: str) -> Answers:
        """Ask both for something that an admin may; without a record and rows, the good answers are 404 and 200."""
        sent = headers | ({} if token is None else {"Authorization": f"{scheme} {token}"})
        with httpx.Client(headers=sent, timeout=20) as http:
            return http.post(f"{self.write}/trucks/T1/activate"), http.get(f"{self.read}/trucks")


@pytest.fixture(scope="module")
def house(postgres: Postgres, keys: dict[str, str]) -> Iterator[House]:
    postgres.make_database("tokens", TEMPLATE)
    urls = {f"{login.removeprefix('fieldlog_')}_url".upper(): postgres.url(login, "tokens") for login in LOGINS}
    with ExitStack() as stack:
        provider = stack.enter_context(serving(*KEYS.values()))
        given = {f"FIELDLOG_{name}": url for name, url in urls.items()} | {"FIELDLOG_JWKS": provider.url}
        settings = Settings.from_environment(keys | given | {"FIELDLOG_CORS_ORIGINS": "https://app.example"})
        write, read = (stack.enter_context(served(one(settings).app())) for one in (WriteApi, ReadApi))
        yield House(write, read)


def accepted(answers: Answers) -> bool:
    """Say whether both APIs took the token."""
    return [one.status_code for one in answers] == [404, 200] and answers[0].json()["code"] == "no-such-record"


def challenged(answers: Answers, challenge: str = 'Bearer error="invalid_token"') -> list[str]:
    """Check that both APIs ask for a token, as a whole problem; return why."""
    for one in answers:
        assert one.status_code == 401, one.text
        assert one.headers["www-authenticate"] == challenge
        assert one.headers["content-type"] == "application/problem+json"
        assert one.json()["code"] == "unauthenticated"
    return [one.json()["detail"] for one in answers]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_token_of_the_identity_provider_is_accepted(house: House, algorithm: str) -> None:
    assert accepted(house.ask(signed(KEYS[algorithm], algorithm=algorithm)))


@pytest.mark.parametrize(
    "token",
    [
        signed(OURS, typ="application/at+jwt"),
        signed(OURS, typ="AT+JWT"),
        signed(OURS, claims(aud=["somebody-else", "fieldlog"])),
        signed(
            OURS, claims(exp=int(time.time()) + 10 * HOUR_S, nbf=LONG_AGO, sid="session-1", email="ana@example.org")
        ),
        signed(OURS, claims(roles=["pilot", "admin", 7, {"name": "admin"}])),
    ],
    ids=["long type", "type in capitals", "several audiences", "more claims", "roles that mean nothing here"],
)
def test_what_identity_providers_do_differently_is_accepted(house: House, token: str) -> None:
    assert accepted(house.ask(token))


def confused(key: Key) -> str:
    """Return a token signed with HS256, where the secret is the public key that everybody can read."""
    unsigned = put_together({"alg": "HS256", "typ": "at+jwt", "kid": key.kid}, claims()).rstrip(".")
    signature = hmac.digest(key.as_pem(private=False), unsigned.encode(), "sha256")
    return f"{unsigned}.{urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def undecided(key: Key) -> Key:
    """Return a key without its say for which algorithm it is."""
    return jwk.RSAKey.import_key({name: value for name, value in key.as_dict(private=True).items() if name != "alg"})  # type: ignore[arg-type]


def tampered(token: str) -> str:
    """Return a token whose claims are others than those that were signed."""
    head, _, signature = token.split(".")
    return ".".join([head, put_together({}, claims(roles=["admin", "auditor"])).split(".")[1], signature])


GOOD = {"alg": "ES256", "typ": "at+jwt", "kid": OURS.kid}
REFUSED = {
    "signed by a stranger who names our key": signed(STRANGER, kid=OURS.kid),
    "signed by a stranger": signed(STRANGER),
    "signed with another algorithm than the key is for": signed(undecided(KEYS["PS256"]), algorithm="RS256"),
    "algorithm none": put_together(GOOD | {"alg": "none"}, claims()),
    "algorithm None": put_together(GOOD | {"alg": "None"}, claims()),
    "our public key as a secret": confused(OURS),
    "our public RSA key as a secret": confused(KEYS["RS256"]),
    "an algorithm that is not on the list": put_together(GOOD | {"alg": "ES512"}, claims(), b"x" * 132),
    "no algorithm": put_together({"typ": "at+jwt"}, claims(), b"x" * 64),
    "a key brought along": put_together(GOOD | {"jwk": STRANGER.as_dict(private=False)}, claims(), b"x" * 64),
    "something critical that we do not know": put_together(GOOD | {"crit": ["exp"]}, claims(), b"x" * 64),
    "other claims than were signed": tampered(signed(OURS)),
    "not signed": put_together(GOOD, claims()),
    "an identity token": signed(OURS, typ="JWT"),
    "no type": signed(OURS, typ=None),
    "no key named where there are several": signed(OURS, kid=None),
    "expired": signed(OURS, claims(iat=LONG_AGO - HOUR_S, exp=LONG_AGO)),
    "without an end": signed(OURS, claims(exp=None)),
    "an end that is no number": put_together(GOOD, claims(exp="tomorrow"), b"x" * 64),
    "not good yet": signed(OURS, claims(nbf=SOON)),
    "issued in the future": signed(OURS, claims(iat=SOON)),
    "of another issuer": signed(OURS, claims(iss="https://elsewhere.example")),
    "of no issuer": signed(OURS, claims(iss=None)),
    "for another audience": signed(OURS, claims(aud="elsewhere")),
    "for nobody": signed(OURS, claims(aud=None)),
    "of no subject": signed(OURS, claims(sub=None)),
    "of an empty subject": signed(OURS, claims(sub="")),
    "of a subject that is too long": signed(OURS, claims(sub="a" * 256)),
    "without an organisation": signed(OURS, claims(tenant=None)),
    "of an organisation that is no UUID": signed(OURS, claims(tenant="demo")),
    "of a number as organisation": signed(OURS, claims(tenant=7)),
    "with roles that are no list": signed(OURS, claims(roles="admin")),
    "of a megabyte": signed(OURS) + "A" * 1_000_000,
    "claims that are a list": put_together(GOOD, [1], b"x" * 64),
    "a header that is a list": put_together([1], claims(), b"x" * 64),
    "one word": "swordfish",
    "three words": "sword.fish.swordfish",
    "dots": "....",
    "beyond ASCII": "é.é.é",
}


@pytest.mark.parametrize("token", REFUSED.values(), ids=REFUSED.keys())
def test_any_other_token_is_not_accepted_and_the_answer_says_why(house: House, token: str) -> None:
    sent = token.encode("latin-1").decode("latin-1")
    for why in challenged(house.ask(sent) if sent.isascii() else _raw(house, sent)):
        assert why.startswith("The token is not accepted: ")
        assert len(why) > len("The token is not accepted: ")
        assert len(why) < 300


def _raw(house: House, token: str) -> Answers:
    """Send what httpx would not send as text."""
    headers = [(b"authorization", b"Bearer " + token.encode("latin-1"))]
    return (
        httpx.post(f"{house.write}/trucks/T1/activate", headers=headers),
        httpx.get(f"{house.read}/trucks", headers=headers),
    )


def test_without_a_token_it_says_how_to_send_one(house: House) -> None:
    for answers in (house.ask(None), house.ask("token", "Bear"), house.ask("YW5hOnN3b3JkZmlzaA==", "Basic")):
        assert challenged(answers, "Bearer") == ["Send Authorization: Bearer <token>."] * 2


def test_clocks_may_differ_a_little(house: House) -> None:
    now = int(time.time())
    assert accepted(house.ask(signed(OURS, claims(exp=now - 15))))
    assert accepted(house.ask(signed(OURS, claims(nbf=now + 15))))
    challenged(house.ask(signed(OURS, claims(exp=now - 45))))
    challenged(house.ask(signed(OURS, claims(nbf=now + 90))))


def test_a_forged_token_is_not_taken_for_the_one_that_was_accepted_before(house: House) -> None:
    token = signed(OURS)
    assert accepted(house.ask(token))
    challenged(house.ask(tampered(token)))
    challenged(house.ask(token[:-4] + ("AAAA" if not token.endswith("AAAA") else "BBBB")))
    assert accepted(house.ask(token))


@pytest.mark.parametrize("roles", [[], ["pilot"], ["system"], ["ADMIN"], None])
def test_roles_that_allow_nothing_are_told_which_would(house: House, roles: Any) -> None:
    """No role, one that means nothing here, and the one that only Fieldlog itself has."""
    command, question = house.ask(signed(OURS, claims(roles=roles)))
    for one in (command, question):
        assert (one.status_code, one.json()["code"]) == (403, "not-allowed")
        assert one.headers["content-type"] == "application/problem+json"
    assert command.json()["detail"] == "trucks.activate is for: admin, dispatcher."
    assert question.json()["detail"] == "This is for: admin, auditor, dispatcher, driver, viewer."


def test_a_role_is_told_what_it_may_not_read_and_who_may(house: House) -> None:
    driver = {"Authorization": f"Bearer {signed(OURS, claims(roles=[Role.DRIVER.value]))}"}
    said = {
        path: httpx.get(house.read + path, headers=driver).json()["detail"]
        for path in ("/log", "/stream?view=trips&view=dashboard")
    }
    assert said == {
        "/log": "This is for: admin, auditor.",
        "/stream?view=trips&view=dashboard": "dashboard is for: admin, auditor, dispatcher, viewer.",
    }


@pytest.mark.parametrize(("token", "status"), [(signed(OURS), 404), ("swordfish", 401), (None, 401)])
def test_a_page_of_an_allowed_origin_can_read_every_answer(house: House, token: str | None, status: int) -> None:
    """A browser hides an answer from a page unless the answer names the page's origin; problems are answers too."""
    answers = house.ask(token, origin="https://app.example")
    assert answers[0].status_code == status
    assert [one.headers.get("access-control-allow-origin") for one in answers] == ["https://app.example"] * 2


def test_the_keys_of_the_provider_are_public_ones(house: House) -> None:
    assert b'"d"' not in key_set(*KEYS.values())
    assert house.write != house.read
