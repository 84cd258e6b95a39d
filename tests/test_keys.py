"""Where the keys of tokens come from: they change, and their source may be away, without anybody being turned away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest

from infra.web import tokens
from infra.web.tokens import LARGEST_JWKS, Keys, TokenError, Tokens
from tests.identity_provider import KeyServer, claims, key_set, new_key, put_together, serving, signed

FIRST, SECOND, THIRD = new_key(), new_key(), new_key()

# What a source may answer while it is not well: none of it is a set of keys.
UNWELL = {
    "a page": b"<html>maintenance</html>",
    "nothing": b"",
    "an object without keys": b'{"error": "maintenance"}',
    "a list": b"[]",
    "text": b'"keys"',
    "no keys": b'{"keys": []}',
    "null": b'{"keys": null}',
    "half a key": json.dumps({"keys": [{"kty": "EC", "crv": "P-256", "x": "AA"}]}).encode(),
    "a curve that nobody knows": json.dumps({"keys": [{"kty": "EC", "crv": "P-999", "x": "AA", "y": "AA"}]}).encode(),
    "too much": b" " * (LARGEST_JWKS + 1) + key_set(THIRD),
}


def checker(source: str) -> Tokens:
    return Tokens(Keys(source), "fieldlog", "fieldlog")


async def says(check: Tokens, token: str) -> str:
    """Return what becomes of a token: the subject, or why it is not accepted."""
    try:
        return (await check.check(token)).actor.subject
    except TokenError as error:
        return str(error)


def run(story: Callable[[], Awaitable[None]]) -> None:
    async def told() -> None:
        await story()

    asyncio.run(told())


def test_a_file_is_read_again_when_a_key_is_not_known(tmp_path: Path) -> None:
    file = tmp_path / "jwks.json"
    file.write_bytes(key_set(FIRST))

    async def story() -> None:
        check = checker(str(file))
        assert await says(check, signed(FIRST)) == "ana"
        file.write_bytes(key_set(SECOND))
        assert await says(check, signed(SECOND)) == "ana"
        assert "kid" in await says(check, signed(FIRST, claims(sub="bojan")))

    run(story)


def test_a_new_key_of_the_provider_is_fetched_when_it_is_first_seen() -> None:
    async def story() -> None:
        with serving(FIRST) as provider:
            check = checker(provider.url)
            assert await says(check, signed(FIRST)) == "ana"
            provider.document = key_set(FIRST, SECOND)
            assert [await says(check, signed(one)) for one in (SECOND, FIRST, SECOND)] == ["ana"] * 3
            assert provider.asked == 2

    run(story)


def test_keys_that_nobody_has_lead_to_one_more_fetch_however_often_they_are_named() -> None:
    """Anybody may send tokens with invented key ids; that is no way to have us pester the identity provider."""

    async def story() -> None:
        with serving(FIRST) as provider:
            check = checker(provider.url)
            forged = [put_together({"alg": "ES256", "typ": "at+jwt", "kid": f"k{n}"}, claims()) for n in range(50)]
            said = await asyncio.gather(*(says(check, token) for token in forged))
            assert all("kid" in one for one in said)
            assert await says(check, signed(FIRST)) == "ana"
            assert provider.asked == 2

    run(story)


def test_after_a_while_a_key_that_is_not_known_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "UNKNOWN_KEY_PAUSE_S", 0.0)

    async def story() -> None:
        with serving(FIRST) as provider:
            check = checker(provider.url)
            assert "kid" in await says(check, signed(SECOND))
            provider.document = key_set(FIRST, SECOND)
            assert await says(check, signed(SECOND)) == "ana"

    run(story)


def test_a_source_that_is_away_at_the_start_is_a_failure_to_start() -> None:
    with serving(FIRST) as provider:
        gone = provider.url

    async def story() -> None:
        with pytest.raises(httpx.ConnectError):
            await Keys(gone).load()

    run(story)


def test_a_file_that_is_not_there_is_a_failure_to_start(tmp_path: Path) -> None:
    async def story() -> None:
        with pytest.raises(FileNotFoundError):
            await Keys(str(tmp_path / "none.json")).load()

    run(story)


def test_while_the_source_is_away_the_last_good_keys_are_kept() -> None:
    async def story() -> None:
        with serving(FIRST) as provider:
            keys = Keys(provider.url)
            check = Tokens(keys, "fieldlog", "fieldlog")
            await keys.load()
        await keys.load()
        assert await says(check, signed(FIRST)) == "ana"
        assert "kid" in await says(check, signed(SECOND))

    run(story)


@pytest.mark.parametrize("document", UNWELL.values(), ids=UNWELL.keys())
def test_while_the_source_is_unwell_the_last_good_keys_are_kept(document: bytes) -> None:
    async def story() -> None:
        with serving(FIRST) as provider:
            keys = Keys(provider.url)
            check = Tokens(keys, "fieldlog", "fieldlog")
            await keys.load()
            provider.document = document
            await keys.load()
            assert await says(check, signed(FIRST)) == "ana"
            assert "kid" in await says(check, signed(SECOND))

    run(story)


@pytest.mark.parametrize("document", UNWELL.values(), ids=UNWELL.keys())
def test_a_token_is_not_accepted_while_no_keys_could_be_had(document: bytes) -> None:
    """It is a 401 and never a 500: who sends the token cannot tell whether it would have been good."""

    async def story() -> None:
        with serving(FIRST) as provider:
            provider.document = document
            assert await says(checker(provider.url), signed(FIRST)) != "ana"

    run(story)


@pytest.mark.parametrize("status", [404, 500, 503])
def test_a_source_that_answers_no_is_away(status: int) -> None:
    async def story() -> None:
        with serving(FIRST) as provider:
            keys = Keys(provider.url)
            await keys.load()
            provider.status, provider.document = status, key_set(SECOND)
            await keys.load()
            assert await says(Tokens(keys, "fieldlog", "fieldlog"), signed(FIRST)) == "ana"

    run(story)


def test_nobody_is_followed_to_another_address() -> None:
    async def story() -> None:
        with serving(FIRST) as provider, serving(SECOND) as elsewhere:
            keys = Keys(provider.url)
            await keys.load()
            provider.status, provider.location = 302, elsewhere.url
            await keys.load()
            assert elsewhere.asked == 0

    run(story)


async def asked_again(provider: KeyServer, refreshing: asyncio.Task[None]) -> None:
    """Return once the provider was asked twice more, so that the first of both answers has been read."""
    wanted = provider.asked + 2
    async with asyncio.timeout(10):
        while provider.asked < wanted:
            await asyncio.wait([refreshing], timeout=0.01)
            assert not refreshing.done(), refreshing.exception()


@pytest.mark.parametrize("document", [b"<html>", b'{"error": "maintenance"}'])
def test_keys_are_read_again_now_and_then_also_after_the_source_was_unwell(
    monkeypatch: pytest.MonkeyPatch, document: bytes
) -> None:
    monkeypatch.setattr(tokens, "REFRESH_S", 0.01)

    async def story() -> None:
        with serving(FIRST) as provider:
            keys = Keys(provider.url)
            await keys.load()
            provider.document = document
            refreshing = asyncio.create_task(keys.refresh())
            await asked_again(provider, refreshing)
            provider.document = key_set(SECOND)
            await asked_again(provider, refreshing)
            refreshing.cancel()
        assert await says(Tokens(keys, "fieldlog", "fieldlog"), signed(SECOND)) == "ana"

    run(story)


def test_keys_of_other_kinds_among_them_do_no_harm() -> None:
    """Providers publish keys for encryption and of kinds to come beside those that sign (RFC 7517, section 5)."""
    others = [
        {"kty": "AKP", "alg": "ML-DSA-44", "kid": "later", "pub": "AA"},
        {**new_key("RS256").as_dict(private=False), "use": "enc", "alg": "RSA-OAEP", "kid": "enc"},
    ]
    document = json.loads(key_set(FIRST))

    async def story() -> None:
        with serving(FIRST) as provider:
            provider.document = json.dumps({"keys": [*others, *document["keys"]]}).encode()
            assert await says(checker(provider.url), signed(FIRST)) == "ana"

    run(story)


@pytest.mark.parametrize("source", ["http://keys.example/jwks", "http://127.0.0.1.example/jwks", "ftp://keys.example/"])
def test_keys_are_fetched_over_https_only(source: str) -> None:
    with pytest.raises(ValueError, match="https"):
        Keys(source)


def test_over_http_only_from_this_machine() -> None:
    assert Keys("http://127.0.0.1:9/jwks") is not None
    assert Keys("https://keys.example/jwks") is not None
