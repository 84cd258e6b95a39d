"""What a change to the contract breaks, as sentences that name who is broken.

Two sets of documents are compared, by file name: schemas of facts and rows, AsyncAPI, OpenAPI of both APIs. Something new
breaks nobody. What facts were is final; other breaks are allowed where CHANGELOG.md says them, so that nobody is surprised.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tests.contract.differences import Difference, Document, Shape, Side, Walk

VIEW_TOPIC = re.compile(r"(.+\.views\.\w+)\.v(\d+)")
METHODS = ("get", "put", "post", "delete", "patch")


@dataclass(frozen=True)
class Break:
    """Something that somebody relied on is no longer so; what is `final` must not be, whatever is said."""

    sentence: str
    final: bool = False


def breaks(old: Mapping[str, Document], new: Mapping[str, Document]) -> list[Break]:
    """Return what breaks between two sets of documents, each break once."""
    topics = _topics(old.get("asyncapi.json", {}))
    found: list[Break] = []
    for name, before in old.items():
        now = new.get(name)
        if name.startswith("schemas/facts/"):
            found += _fact(before, now, topics)
        elif name.startswith("schemas/views/"):
            found += _row(before, now, topics)
        elif name == "asyncapi.json":
            found += _streams(before, now or {})
        elif name.startswith("openapi-"):
            found += _api(before, now or {})
    return list(dict.fromkeys(found))


def _said(subject: str, differences: Iterable[Difference], whom: str, instead: str = "") -> Iterator[str]:
    for what, effect in differences:
        yield f"{subject} {what}: {whom} {effect}{instead}."


def _topics(asyncapi: Document) -> dict[str, str]:
    """Return the topics of each schema, by its URL."""
    found: dict[str, list[str]] = {}
    for channel in asyncapi.get("channels", {}).values():
        for message in channel["messages"].values():
            url = message.get("payload", {}).get("schema", {}).get("$ref")
            if url is not None and channel["address"] not in found.setdefault(url, []):
                found[url].append(channel["address"])
    return {url: ", ".join(topics) for url, topics in found.items()}


def _fact(old: Document, new: Document | None, topics: Mapping[str, str]) -> Iterator[Break]:
    name, whom = old["title"], f"consumers of {topics.get(old['$id'], 'its topic')}"
    if new is None:
        yield Break(f"{name} is gone: {whom} meet facts of this name for ever, so it has to stay.", final=True)
        return
    walked = Walk(Side.READS).differences(Shape(old, old), Shape(new, new))
    for sentence in _said(name, walked, whom, "; add a new version of the fact instead"):
        yield Break(sentence, final=True)


def _row(old: Document, new: Document | None, topics: Mapping[str, str]) -> Iterator[Break]:
    if new is None:  # its topic says where to go on
        return
    name, whom = old["title"], f"consumers of {topics.get(old['$id'], 'its topic')}"
    walked = list(Walk(Side.READS).differences(Shape(old, old), Shape(new, new)))
    if old.get("x-key") != new.get("x-key"):
        walked.append(Difference("has another key", "find a row under its former key for ever"))
    for sentence in _said(name, walked, whom, "; raise the version of its context instead"):
        yield Break(sentence)


def _streams(old: Document, new: Document) -> Iterator[Break]:
    channels = new.get("channels", {})
    yield from _missing(
        [one["address"] for one in old["channels"].values()], [one["address"] for one in channels.values()]
    )
    for name, before in old["channels"].items():
        now = channels.get(name)
        if now is None:
            continue
        final = ".facts." in before["address"]
        for sentence in _channel(before, now, Shape({}, old), Shape({}, new)):
            yield Break(sentence, final)
        asked = [_query(document, name) for document in (old, new)]
        walked = Walk(Side.SENDS, "query parameter").differences(Shape(asked[0], old), Shape(asked[1], new))
        for sentence in _said(before["address"], walked, "clients"):
            yield Break(sentence)


def _missing(old: Iterable[str], new: Sequence[str]) -> Iterator[Break]:
    """Yield which topics are no more; those of a new version of their context's views in one sentence."""
    later = {found[1]: found[2] for one in new if (found := VIEW_TOPIC.fullmatch(one))}
    moved: dict[tuple[str, str], list[str]] = {}
    for address in (one for one in old if one not in new):
        found = VIEW_TOPIC.fullmatch(address)
        if found is None:
            yield Break(f"{address} is gone: whoever follows it gets nothing more.", final=".facts." in address)
        elif found[1] in later:
            moved.setdefault((found[2], later[found[1]]), []).append(found[1])
        else:
            yield Break(f"{address} is gone: its consumers have nothing to move to.")
    for (before, now), topics in moved.items():
        yield Break(f"The topics {', '.join(topics)} end with v{before}: their consumers must move to v{now}.")


def _channel(before: Document, now: Document, old: Shape, new: Shape) -> Iterator[str]:
    address = before["address"]
    policies = [
        one.get("bindings", {}).get("kafka", {}).get("topicConfiguration", {}).get("cleanup.policy")
        for one in (before, now)
    ]
    if policies[0] != policies[1]:
        yield f"{address} is cleaned up by {policies[1]} and not by {policies[0]}: consumers that count on what it keeps break."
    for name, message in before["messages"].items():
        other = now["messages"].get(name)
        if other is None:
            yield f"{address} no longer carries {name}: consumers that wait for it wait in vain."
            continue
        headers = (one.at(part.get("headers", {})) for one, part in ((old, message), (new, other)))
        yield from _said(f"{address}", Walk(Side.READS, "header").differences(*headers), "consumers")
        payloads = [part.get("payload", {}) for part in (message, other)]
        if not any("schemaFormat" in one for one in payloads):  # others have a schema of their own
            walked = Walk(Side.READS).differences(old.at(payloads[0]), new.at(payloads[1]))
            yield from _said(f"{name} of {address}", walked, "consumers")


def _query(document: Document, channel: str) -> Document:
    operation = document["operations"].get(channel, {})
    query: Document = operation.get("bindings", {}).get("http", {}).get("query", {})
    return query


def _api(old: Document, new: Document) -> Iterator[Break]:
    now = {_path(path): item for path, item in new.get("paths", {}).items()}
    for path, item in old["paths"].items():
        for method in METHODS:
            if method not in item:
                continue
            name, other = f"{method.upper()} {path}", now.get(_path(path), {}).get(method)
            if other is None:
                yield Break(f"{name} is gone: clients that call it are answered 404 or 405.")
                continue
            for sentence in _operation(name, Shape(item[method], old), Shape(other, new)):
                yield Break(sentence)


def _path(path: str) -> str:
    return re.sub(r"{[^}]*}", "{}", path)


def _operation(name: str, old: Shape, new: Shape) -> Iterator[str]:
    yield from _parameters(name, old, new)
    yield from _body(name, old, new)
    yield from _answers(name, old, new)
    for role in _lacking("x-roles", old, new):
        yield f"{name} is no longer for the role {role}: clients of this role are refused."
    for code in _lacking("x-refusals", old, new):
        yield f"{name} is never refused with {code} any more: clients that look for this code look in vain."


def _lacking(name: str, old: Shape, new: Shape) -> list[str]:
    return [one for one in old.schema.get(name, ()) if one not in new.schema.get(name, ())]


def _parameters(name: str, old: Shape, new: Shape) -> Iterator[str]:
    before, now = (
        {(one["in"], one["name"].lower()): one for one in shape.schema.get("parameters", ()) if one["in"] != "path"}
        for shape in (old, new)
    )
    for (place, key), one in before.items():
        noun = f"{place} parameter" if place == "query" else place
        other = now.get((place, key))
        if other is None:
            yield f"{name} lost its {noun} {one['name']}: clients that send it break."
            continue
        walked = Walk(Side.SENDS, noun).differences(old.at(one["schema"]), new.at(other["schema"]), one["name"])
        yield from _said(name, walked, "clients")
    for (place, key), one in now.items():
        if one.get("required") and not before.get((place, key), {}).get("required"):
            noun = f"{place} parameter" if place == "query" else place
            yield f"{name} now requires the {noun} {one['name']}: clients that do not send it are refused."


def _body(name: str, old: Shape, new: Shape) -> Iterator[str]:
    before, now = (shape.schema.get("requestBody", {}) for shape in (old, new))
    if now.get("required") and not before.get("required"):
        yield f"{name} now requires a body: clients that send none are refused."
    for kind, one in before.get("content", {}).items():
        other = now.get("content", {}).get(kind)
        if other is None:
            yield f"{name} no longer takes {kind}: clients that send it are refused."
            continue
        shapes = (shape.at(part.get("schema", {})) for shape, part in ((old, one), (new, other)))
        yield from _said(name, Walk(Side.SENDS).differences(*shapes), "clients")


def _answers(name: str, old: Shape, new: Shape) -> Iterator[str]:
    before, now = (shape.schema.get("responses", {}) for shape in (old, new))
    if "428" in now.keys() - before.keys():
        yield f"{name} now requires the header If-Match: clients that do not send it are refused."
    for status, one in before.items():
        if status not in now:
            yield f"{name} is never answered {status} any more: clients that look for it look in vain."
            continue
        for kind, content in one.get("content", {}).items():
            other = now[status].get("content", {}).get(kind)
            if other is None:
                yield f"{name} is no longer answered {status} as {kind}: clients that read it break."
                continue
            shapes = (shape.at(part.get("schema", {})) for shape, part in ((old, content), (new, other)))
            walked = Walk(Side.READS).differences(*shapes)
            yield from _said(f"{name} ({status})", walked, "clients")
