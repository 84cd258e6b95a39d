"""What the system is, against its golden files; and every fact that was ever stored, against its sample."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from projections.catalog import CONTEXTS
from tests.house import golden, samples

ANEW = "the system is another one than tests/golden says; if that is meant, run `make golden` and commit the diff"
STORED_NAMES = sorted(samples.stored_names())
ENCRYPTED = [topic for topic in STORED_NAMES if samples.path_of(topic).exists() and "stored" in samples.read(topic)]


@pytest.fixture(scope="module")
def documents() -> dict[str, Any]:
    return golden.documents()


@pytest.mark.parametrize("name", golden.documents_in(golden.FOLDER))
def test_the_system_is_as_its_golden_file_says(name: str, documents: dict[str, Any]) -> None:
    found = golden.text_of(documents[name]).splitlines()
    assert found == (golden.FOLDER / name).read_text().splitlines(), ANEW


def test_every_document_has_its_golden_file(documents: dict[str, Any]) -> None:
    assert golden.documents_in(golden.FOLDER).keys() == documents.keys(), ANEW


def test_documents_that_are_no_more_are_removed_and_samples_are_not(tmp_path: Path) -> None:
    for name in ("gone.json", "schemas/facts/gone.json", "facts/sample.json", "released/former.json", "views.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}")
    golden.write(tmp_path, {"schemas/new.json": {"so": "it is"}})
    assert golden.documents_in(tmp_path) == {"schemas/new.json": {"so": "it is"}}
    kept = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.json")}
    assert kept == {"schemas/new.json", "facts/sample.json", "released/former.json", "views.json"}


@pytest.mark.parametrize("name", CONTEXTS)
def test_other_folds_have_another_version(name: str) -> None:
    kept, found = golden.kept_views().get(name), golden.views()[name]
    assert kept is not None, f"{name} is not in tests/golden/views.json: run `make golden`"
    if found["version"] == kept["version"]:
        assert found["digest"] == kept["digest"], golden.RAISE.format(name=name, version=found["version"])
    else:
        assert found == kept, f"{name} has version {found['version']} now: run `make golden`"


def test_no_context_is_kept_that_is_gone() -> None:
    assert golden.kept_views().keys() == CONTEXTS.keys()


def test_every_fact_has_its_sample_and_every_sample_its_fact() -> None:
    """A stored name can never be given up: there may be facts under it in some log."""
    names = {path.name for path in samples.files()}
    wanted = {f"{topic}.json" for topic in STORED_NAMES}
    assert sorted(wanted - names) == [], "without a sample: run `make golden`"
    assert sorted(names - wanted) == [], "a sample without a fact: what was stored under this name must stay readable"


@pytest.mark.parametrize("topic", STORED_NAMES)
def test_what_was_stored_is_read_as_it_was(topic: str) -> None:
    sample = samples.read(topic)
    assert list(samples.differences(samples.opened(topic, sample), sample["reads"])) == []


@pytest.mark.parametrize("topic", STORED_NAMES)
def test_what_is_stored_now_is_written_as_it_was(topic: str) -> None:
    sample = samples.read(topic)
    fact = samples.opened(topic, sample)
    assert list(samples.unlike(samples.written(fact), json.loads(sample["state"]))) == []
    if "stored" not in sample:
        assert samples.new_codec().encode(samples.key_of(sample), 1, fact)[0] == topic
        if samples.written(fact).keys() == json.loads(sample["state"]).keys():
            assert samples.new_codec().encode(samples.key_of(sample), 1, fact)[1] == sample["state"].encode()


@pytest.mark.parametrize("topic", ENCRYPTED)
def test_an_encrypted_sample_shows_nothing_of_what_it_holds(topic: str) -> None:
    sample = samples.read(topic)
    stored, plain = json.loads(sample["stored"]), json.loads(sample["state"])
    hidden = [name for name in stored if stored[name] != plain[name]]
    assert hidden
    for name in hidden:
        assert json.dumps(plain[name], ensure_ascii=False) not in sample["stored"]


def test_personal_facts_are_among_the_samples() -> None:
    assert {"drivers.registered.v1", "trips.locations-recorded.v1", "trips.track-condensed.v1"} <= set(ENCRYPTED)
