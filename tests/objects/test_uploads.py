"""Files come in: declared, in parts, in any order and again; nothing else than what was declared, from nobody else."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from pydantic import SecretStr

from domain.roles import Role
from infra.local.postgres import Postgres
from infra.objects import Objects
from infra.settings import Settings
from tests.conftest import NEIGHBOUR
from tests.objects.evidence import MIB, File, bytes_of, kept, member_of, pieces, scrutineering
from tests.objects.s3 import bucket, needs_s3
from tests.running import until
from tests.test_doors import problem
from tests.views.conftest import fresh_database, settings_over
from tests.views.house import House, Person, open_house, rows_of

SMALL = {"upload_bytes": 4 * MIB, "upload_part_bytes": MIB}


@pytest.fixture(scope="module")
def house(postgres: Postgres, keys: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    place = {"objects": str(tmp_path_factory.mktemp("objects"))}
    with fresh_database(postgres) as database:
        settings = settings_over(database, keys).model_copy(update=place | SMALL)
        with open_house(settings) as house:
            yield house


@pytest.fixture(scope="module")
def crew(house: House) -> Person:
    return scrutineering(house)


@pytest.fixture(scope="module")
def volt(house: House, crew: Person) -> Person:
    return member_of(house, crew, "volt")


@pytest.fixture(scope="module")
def amps(house: House, crew: Person) -> Person:
    return member_of(house, crew, "amps")


def read(reader: Person, file: File, **headers: str) -> httpx.Response:
    return reader.get(f"/attachments/{file.id}/content", **headers)


def facts_of(house: House, file: File) -> list[str]:
    statement = "select topic from fieldlog.log where stream = 'attachments' and id = %s order by notification_id"
    return [topic for (topic,) in rows_of(house.settings.need("writer_url"), statement, [file.id])]


def key_of(house: House, file: File) -> str:
    """Return under which key the bytes of a file go."""
    statement = """select convert_from(state, 'utf8')::json->>'key' from fieldlog.log
        where stream = 'attachments' and id = %s order by notification_id limit 1"""
    [(key,)] = rows_of(house.settings.need("writer_url"), statement, [file.id])
    return str(key)


def kept_of(house: House, file: File) -> list[str]:
    """Return what is kept of a file, by its path in the folder of the file."""
    folder = key_of(house, file).removesuffix("content")
    return [path.removeprefix(folder) for path in kept(house.settings) if path.startswith(folder)]


def test_a_file_is_declared_sent_completed_and_read(house: House, crew: Person) -> None:
    file = File(bytes_of(3_000), item="brakes.3")
    told = file.declared(crew)
    assert told.status_code == httpx.codes.CREATED
    document = told.json()
    assert (document["facts"], document["status"]) == (["attachments.declared.v1"], "declared")
    assert (document["parts"], document["part_size"]) == (1, 3_000)
    assert document["put"] == f"/uploads/{file.id}/parts/{{n}}"
    assert document["complete"] == f"/uploads/{file.id}/complete"
    left = datetime.fromisoformat(document["until"]) - datetime.now().astimezone()
    assert timedelta(hours=23) < left < timedelta(hours=24)
    assert told.headers["etag"] == '"1"'
    assert file.part(crew).status_code == httpx.codes.NO_CONTENT
    crew.position = document["position"]
    assert crew.see(f"/attachments/{file.id}")["status"] == "declared"
    problem(read(crew, file), 404, "no-such-record")
    done = file.complete(crew)
    assert done.json() == {
        "id": file.id,
        "version": 2,
        "position": document["position"] + 1,
        "facts": ["attachments.stored.v1"],
    }
    shown = crew.see(f"/attachments/{file.id}")
    assert (shown["status"], shown["sha256"], shown["item"]) == ("stored", file.sha256, "brakes.3")
    assert crew.get(shown["content"]).content == file.content
    assert kept_of(house, file) == ["content"]


def test_bytes_are_saved_not_shown_and_kept_for_ever(crew: Person) -> None:
    answer = read(crew, File(bytes_of(3_000), name='č".png').sent(crew))
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["content-disposition"] == "attachment; filename=\"__.png\"; filename*=UTF-8''%C4%8D_.png"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "private, max-age=31536000, immutable"
    assert answer.headers["content-length"] == "3000"


def test_what_is_known_is_not_sent_again(crew: Person) -> None:
    file = File(bytes_of(3_000)).sent(crew)
    answer = read(crew, file, if_none_match=f'"{file.sha256}"')
    assert (answer.status_code, answer.content) == (httpx.codes.NOT_MODIFIED, b"")


@pytest.mark.parametrize(
    ("wanted", "start", "end"),
    [
        ("bytes=0-9", 0, 10),
        ("bytes=2990-", 2_990, 3_000),
        ("bytes=-7", 2_993, 3_000),
        ("bytes=2999-9999", 2_999, 3_000),
    ],
)
def test_a_part_of_a_file_is_read(crew: Person, wanted: str, start: int, end: int) -> None:
    file = File(bytes_of(3_000)).sent(crew)
    answer = read(crew, file, range=wanted)
    assert (answer.status_code, answer.content) == (httpx.codes.PARTIAL_CONTENT, file.content[start:end])
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/3000"


def test_ranges_that_cannot_be_had(crew: Person) -> None:
    file = File(bytes_of(3_000)).sent(crew)
    none = read(crew, file, range="bytes=3000-")
    problem(none, 416, "not-satisfiable")
    assert none.headers["content-range"] == "bytes */3000"
    for whole in ({"range": "bytes=0-1,3-4"}, {"range": "lines=1-2"}, {"range": "bytes=0-1", "if_range": '"x"'}):
        assert read(crew, file, **whole).content == file.content
    assert read(crew, file, range="bytes=0-1", if_range=f'"{file.sha256}"').content == file.content[:2]


def test_a_file_is_sent_in_parts_in_any_order_and_again(house: House, crew: Person) -> None:
    file = File(bytes_of(3 * MIB - 1_000, "application/pdf"), media_type="application/pdf", name="report.pdf")
    told = file.declared(crew).json()
    size = told["part_size"]
    assert told["parts"] == 3
    early = problem(file.complete(crew), 409, "parts-missing")
    assert early["missing"] == [1, 2, 3]
    for number in (3, 1, 1):
        assert file.part(crew, number, file.content[(number - 1) * size : number * size]).status_code == 204
    assert problem(file.complete(crew), 409, "parts-missing")["missing"] == [2]
    assert file.part(crew, 2, pieces(file.content[size : 2 * size])).status_code == httpx.codes.NO_CONTENT
    assert file.complete(crew).status_code == httpx.codes.OK
    assert read(crew, file).content == file.content
    assert kept_of(house, file) == ["content"]


def test_whatever_is_asked_again_changes_nothing(house: House, crew: Person) -> None:
    file = File(bytes_of(3_000))
    first = file.declared(crew, idempotency_key="k1").json()
    assert file.declared(crew, idempotency_key="k1").json() == first
    again = file.declared(crew).json()
    assert (again["facts"], again["put"], again["until"]) == ([], first["put"], first["until"])
    for _ in range(2):
        assert file.part(crew).status_code == httpx.codes.NO_CONTENT
    done = file.complete(crew, idempotency_key="k2").json()
    assert file.complete(crew, idempotency_key="k2").json() == done
    assert file.complete(crew).json()["facts"] == []
    assert file.declared(crew).json()["status"] == "stored"
    problem(file.part(crew), 409, "AttachmentAlreadyStored")
    assert facts_of(house, file) == ["attachments.declared.v1", "attachments.stored.v1"]


def test_another_file_needs_another_id(crew: Person) -> None:
    file = File(bytes_of(3_000)).sent(crew)
    problem(File(bytes_of(4_000), id=file.id).declared(crew), 409, "AttachmentAlreadyDeclared")
    assert read(crew, file).content == file.content


def test_bytes_that_are_not_those_declared_are_never_there(house: House, crew: Person) -> None:
    file = File(bytes_of(3_000), sha256="ab" * 32)
    file.declared(crew)
    file.part(crew)
    wrong = problem(file.complete(crew), 422, "not-as-declared")
    assert wrong["errors"][0]["pointer"] == "#/sha256"
    assert facts_of(house, file) == ["attachments.declared.v1"]
    assert kept_of(house, file) == ["parts/1"]


def test_wrong_bytes_may_be_sent_once_more_rightly(crew: Person) -> None:
    file = File(bytes_of(3_000))
    file.declared(crew)
    file.part(crew, content=bytes(3_000))
    problem(file.complete(crew), 415, "type-not-taken")
    file.part(crew)
    assert file.complete(crew).status_code == httpx.codes.OK


@pytest.mark.parametrize(("kind", "code"), [("text/html", "type-not-taken"), ("application/pdf", "not-as-declared")])
def test_a_page_that_is_called_a_picture_is_none(house: House, crew: Person, kind: str, code: str) -> None:
    file = File(bytes_of(3_000, kind), name="harmless.png")
    file.declared(crew)
    file.part(crew)
    answer = file.complete(crew)
    told = problem(answer, answer.status_code, code)
    assert told["errors"][0]["pointer"] == "#/media_type"
    assert facts_of(house, file) == ["attachments.declared.v1"]


def test_types_that_are_not_taken_are_not_declared(crew: Person) -> None:
    told = problem(File(bytes_of(3_000), media_type="text/html").declared(crew), 415, "type-not-taken")
    assert told["errors"][0]["pointer"] == "#/media_type"
    assert {"image/jpeg", "image/png", "application/pdf"} <= set(told["allowed"])


def test_a_file_is_no_larger_than_it_may_be_nor_than_was_said(house: House, crew: Person) -> None:
    told = problem(File(b"", size=4 * MIB + 1).declared(crew), 413, "file-too-large")
    assert (told["errors"][0]["pointer"], str(4 * MIB) in told["detail"]) == ("#/size", True)
    file = File(bytes_of(3_000))
    file.declared(crew)
    problem(file.part(crew, content=bytes(3_001)), 413, "file-too-large")
    problem(file.part(crew, content=pieces(bytes(100_000))), 413, "file-too-large")
    problem(file.part(crew, content=bytes(2_999)), 422, "not-as-declared")
    problem(file.part(crew, content=pieces(bytes(2_999))), 422, "not-as-declared")
    problem(file.part(crew, 2), 409, "PartUnknown")
    problem(file.part(crew, 0), 422, "invalid-input")
    assert kept_of(house, file) == []


def test_a_connection_that_is_cut_in_the_middle_leaves_nothing(house: House, crew: Person) -> None:
    file = File(bytes_of(MIB))
    file.declared(crew)
    place = urlsplit(house.write_url)
    token = crew.write.http.headers["authorization"]
    head = (
        f"PUT /uploads/{file.id}/parts/1 HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\nContent-Length: {MIB}\r\n\r\n"
    )
    with socket.create_connection((place.hostname or "", place.port or 0)) as connection:
        connection.sendall(head.encode() + file.content[: MIB // 2])
        until(lambda: kept_of(house, file) or None)
    until(lambda: kept_of(house, file) == [] or None)
    assert problem(file.complete(crew), 409, "parts-missing")["missing"] == [1]
    assert file.part(crew).status_code == httpx.codes.NO_CONTENT
    assert file.complete(crew).status_code == httpx.codes.OK


@pytest.mark.parametrize("id", ["../x", "a/b", "..", "%2e%2e", "a\\b", "x" * 129, "ü"])
def test_an_id_leads_nowhere(house: House, crew: Person, id: str) -> None:
    before = kept(house.settings)
    problem(File(bytes_of(3_000), id=id).declared(crew), 422, "invalid-input")
    for path in (f"/uploads/{id}/parts/1", f"/uploads/{id.replace('/', '%2f')}/parts/1"):
        assert crew.write.http.put(path, content=b"x").status_code in (404, 405, 422)
    assert kept(house.settings) == before


@pytest.mark.parametrize("name", ["../../../etc/passwd", "..\\x.png", "/dev/null", "C:\\x.png", "%2e%2e/x.png"])
def test_a_name_leads_nowhere(house: House, crew: Person, name: str) -> None:
    file = File(bytes_of(3_000), name=name).sent(crew)
    assert crew.see(f"/attachments/{file.id}")["name"] == name
    assert kept_of(house, file) == ["content"]
    assert not {"/", "\\"} & set(read(crew, file).headers["content-disposition"])


def test_a_team_sends_and_sees_its_own(volt: Person, amps: Person, crew: Person) -> None:
    file = File(bytes_of(3_000), item="team").sent(volt)
    amps.position = crew.position = volt.position
    for reader in (volt, crew):
        assert read(reader, file).content == file.content
        assert [one["id"] for one in reader.whole("/attachments?booking=b-volt&item=team")] == [file.id]
    problem(read(amps, file), 404, "no-such-record")
    problem(amps.get(f"/attachments/{file.id}"), 404, "no-such-record")
    assert amps.whole("/attachments?booking=b-volt") == []


def test_a_team_attaches_nothing_to_another_and_nobody_to_what_is_not_there(amps: Person, crew: Person) -> None:
    problem(File(bytes_of(3_000)).declared(amps), 403, "NotYours")
    problem(File(bytes_of(3_000), booking="nowhere").declared(crew), 409, "NothingToAttachTo")
    file = File(bytes_of(3_000))
    file.declared(crew)
    problem(file.part(amps), 403, "NotYours")
    problem(file.complete(amps), 403, "NotYours")


def test_another_organisation_knows_of_nothing(house: House, crew: Person) -> None:
    file = File(bytes_of(3_000)).sent(crew)
    theirs = scrutineering(house, NEIGHBOUR)
    problem(file.part(theirs), 404, "no-such-record")
    problem(file.complete(theirs), 404, "no-such-record")
    problem(read(theirs, file), 404, "no-such-record")
    own = File(bytes_of(5_000), id=file.id).sent(theirs)
    assert (read(theirs, own).content, read(crew, file).content) == (own.content, file.content)


def test_who_may_not_ask_is_told_so(house: House, crew: Person) -> None:
    file = File(bytes_of(3_000))
    file.declared(crew)
    for role in (Role.VIEWER, Role.DRIVER):
        nobody = house.person(role)
        for answer in (file.declared(nobody), file.part(nobody), file.complete(nobody)):
            problem(answer, 403, "not-allowed")
    problem(httpx.put(f"{house.write_url}/uploads/{file.id}/parts/1", content=b"x"), 401, "unauthenticated")
    problem(httpx.get(f"{house.read_url}/attachments/{file.id}/content"), 401, "unauthenticated")
    problem(house.person(Role.DRIVER).get("/attachments"), 403, "not-allowed")


def test_only_the_routes_of_uploads_ask_for_these_commands(crew: Person) -> None:
    for verb in ("declare", "expect", "complete", "abandon"):
        problem(crew.write.ask(f"/attachments/x/{verb}", {}), 404, "not-found")


def test_two_who_complete_at_once_agree(house: House, crew: Person) -> None:
    file = File(bytes_of(3 * MIB))
    told = file.declared(crew).json()
    for number in range(told["parts"]):
        size = told["part_size"]
        file.part(crew, number + 1, file.content[number * size : (number + 1) * size])

    async def both() -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=house.write_url, headers=crew.write.http.headers, timeout=30) as client:
            return await asyncio.gather(*(client.post(f"/uploads/{file.id}/complete") for _ in range(4)))

    assert {answer.status_code for answer in asyncio.run(both())} <= {200, 503}
    crew.position = file.complete(crew).json()["position"]
    assert facts_of(house, file) == ["attachments.declared.v1", "attachments.stored.v1"]
    assert read(crew, file).content == file.content


def test_what_is_given_up_is_thrown_away(house: House, crew: Person) -> None:
    """What the reactor does when the time is over."""
    file = File(bytes_of(3_000))
    file.declared(crew)
    file.part(crew)
    asyncio.run(Objects(house.settings).forget(key_of(house, file)))
    assert kept_of(house, file) == []


def test_where_files_cannot_be_kept_or_found_is_said_so(house: House, crew: Person) -> None:
    file = File(bytes_of(3_000)).sent(crew)
    (Path(house.settings.objects_place) / key_of(house, file)).unlink()
    problem(read(crew, file), 503, "no-objects")
    file = File(bytes_of(3_000))
    file.declared(crew)
    folder = (Path(house.settings.objects_place) / key_of(house, file)).parent
    folder.mkdir()
    (folder / "parts").write_text("in the way")
    problem(file.part(crew), 503, "no-objects")


@needs_s3
def test_the_same_with_files_in_a_bucket(settings: Settings, tmp_path: Path) -> None:
    with bucket(tmp_path / "s3") as place:
        options = SecretStr(place["objects_options"])
        there = settings.model_copy(update=SMALL | {"objects": place["objects"], "objects_options": options})
        with open_house(there) as house:
            crew = scrutineering(house)
            for size in (1, 3_000, 4 * MIB):
                file = File(bytes_of(max(size, 8)))
                file.sent(crew)
                assert read(crew, file).content == file.content
                assert read(crew, file, range="bytes=2-5").content == file.content[2:6]
                assert file.complete(crew).json()["facts"] == []
            wrong = File(bytes_of(3_000), sha256="ab" * 32)
            wrong.declared(crew)
            wrong.part(crew)
            problem(wrong.complete(crew), 422, "not-as-declared")
            asyncio.run(Objects(there).forget(key_of(house, wrong)))
        left = [path for path in (tmp_path / "s3").rglob("*") if path.is_file() and ".vgw" not in str(path)]
        assert [path.name for path in left] == ["content"] * 3
