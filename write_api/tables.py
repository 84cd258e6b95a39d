"""Files with rows: JSON, or CSV in whatever encoding and with whatever between its cells."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from io import StringIO
from itertools import chain

from charset_normalizer import from_bytes
from pydantic import ValidationError
from pydantic_core import from_json

from commands.inspections.sheets import MOST_ROWS, ItemRow, Row, Sheet
from infra.web.problems import INVALID_INPUT, MALFORMED_BODY, ProblemError, invalid

MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
DELIMITERS = ",;\t|"
COLUMNS = {field.alias or name: field.is_required() for name, field in ItemRow.model_fields.items()}


def sheet_of_json(body: bytes) -> tuple[list[Row], str | None]:
    """Return the rows of a JSON file, and where it says that they are from. Raises ProblemError."""
    try:
        sheet = Sheet.model_validate(from_json(body))
    except ValidationError as error:
        raise invalid(error, Sheet) from None
    except ValueError as error:
        raise ProblemError(MALFORMED_BODY, str(error)) from None
    rows = [Row("inspection_types", number, one) for number, one in enumerate(sheet.inspection_types, 1)]
    return rows + [Row("items", number, one) for number, one in enumerate(sheet.items, 1)], sheet.source


def items_of_csv(body: bytes) -> list[Row]:
    """Return the rows of a CSV file of items. Raises ProblemError."""
    text = _text(body)
    lines = _lines(text, _delimiter(text))
    header = _header(next(lines, (1, []))[1])
    rows: list[Row] = []
    for number, (line, cells) in enumerate(lines, 1):
        if number > MOST_ROWS:
            raise ProblemError(INVALID_INPUT, f"A file has at most {MOST_ROWS} rows.")
        surplus = (f"cell {place}" for place in range(len(header) + 1, len(cells) + 1))
        values = {name: cell for name, cell in zip(chain(header, surplus), cells, strict=False) if cell}
        rows.append(Row("items", number, values, line, texts=True))
    return rows


def _text(body: bytes) -> str:
    """Return what a file says: by its byte order mark, as UTF-8, or in the encoding that it most probably has."""
    marked = next((encoding for mark, encoding in MARKS.items() if body.startswith(mark)), "utf-8")
    try:
        return body.decode(marked)
    except UnicodeDecodeError:
        guessed = from_bytes(body).best()
        if guessed is None:
            raise ProblemError(
                INVALID_INPUT, "The file is text in no encoding that could be told; UTF-8 is best."
            ) from None
        return str(guessed)


def _delimiter(text: str) -> str:
    """Return what stands between the cells: that by which the first line has most columns that are known."""
    first = text.lstrip().partition("\n")[0]
    return max(DELIMITERS, key=lambda one: len(COLUMNS.keys() & {cell.strip('" \r') for cell in first.split(one)}))


def _lines(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the cells of each row that has any, with the line on which it begins. Raises ProblemError."""
    reader = csv.reader(StringIO(text, newline=""), delimiter=delimiter, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = [cell.strip() for cell in next(reader)]
        except StopIteration:
            return
        except csv.Error as error:
            raise ProblemError(INVALID_INPUT, f"The row that begins on line {line} cannot be read: {error}.") from None
        if any(cells):
            yield line, cells


def _header(cells: list[str]) -> list[str]:
    """Return the names of the columns. Raises ProblemError: one is missing, unknown or there twice."""
    errors = [
        {"column": name, "code": "missing", "detail": "The file needs this column."}
        for name, needed in COLUMNS.items()
        if needed and name not in cells
    ]
    errors += [
        {
            "column": name[:200],
            "code": "unknown",
            "detail": f"There is no such column; there are: {', '.join(COLUMNS)}.",
        }
        for name in dict.fromkeys(cells)
        if name not in COLUMNS
    ][: len(COLUMNS)]
    errors += [
        {"column": name, "code": "repeated", "detail": "The file has this column more than once."}
        for name in COLUMNS
        if cells.count(name) > 1
    ]
    if errors:
        raise ProblemError(INVALID_INPUT, "The first line does not name the columns as they are called.", errors=errors)
    return cells
