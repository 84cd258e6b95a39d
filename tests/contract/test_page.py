"""docs/stream.md, against what is described and published."""

from __future__ import annotations

from infra.contract.asyncapi import FACT_HEADERS, OPTIONAL_HEADERS, SHARED_HEADERS
from infra.kafka.topics import Topics
from tests.house import markdown
from tests.house.source import ROOT

PAGE = (ROOT / "docs" / "stream.md").read_text()


def test_the_page_has_every_header_and_what_it_is_on() -> None:
    shown = {row[0].strip("`"): row[1] for row in markdown.tables(markdown.section(PAGE, "Headers"))[0]}
    both, facts = dict.fromkeys(SHARED_HEADERS, "both"), dict.fromkeys(FACT_HEADERS, "facts")
    assert shown == both | facts | dict.fromkeys(OPTIONAL_HEADERS, "facts, if known")


def test_the_page_names_topics_as_they_are() -> None:
    topics, named = Topics(), set(markdown.code(PAGE))
    assert {topics.facts("<context>"), topics.relay, topics.view("trips", 2), topics.view("trips", 3)} <= named
    assert "fieldlog.views.<view>.v<version>" in named
