"""One bad value in a good request, on every route that takes rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from tests.conformance.hostile.case import NUMBER, TEXT
from tests.conformance.wire import Request, infer_path

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conformance.facts import Column, Facts


#: Index of the row that holds the bad value.
ROW = 1


@dataclass(frozen=True)
class Cell:
    """One bad value, as raw JSON text.

    Attributes:
        id: Name of the case.
        raw: The text that stands where the value should.
        dtypes: Feature types for which it is wrong.
        is_json: Whether the body is a JSON document at all; then the answer must name feature and row.
    """

    id: str
    raw: str
    dtypes: tuple[str, ...]
    is_json: bool = True


_NUMBERS, _ALL = ("float", "int"), ("float", "int", "bool", "string")

CELLS = [
    Cell("nan", "NaN", _ALL, is_json=False),
    Cell("infinity", "Infinity", _ALL, is_json=False),
    Cell("minus-infinity", "-Infinity", _ALL, is_json=False),
    Cell("1e999", "1e999", _ALL, is_json=False),
    Cell("minus-1e999", "-1e999", _ALL, is_json=False),
    Cell("10**400", "1" + "0" * 400, _ALL, is_json=False),
    Cell("hexadecimal", "0x10", _ALL, is_json=False),
    Cell("leading-zero", "007", _ALL, is_json=False),
    Cell("leading-plus", "+7", _ALL, is_json=False),
    Cell("no-fraction", "7.", _ALL, is_json=False),
    Cell("single-quotes", f"'{TEXT}'", _ALL, is_json=False),
    Cell("lone-surrogate", '"\\ud800"', _ALL, is_json=False),
    Cell("null", "null", _ALL),
    Cell("number-in-a-string", f'"{NUMBER}"', _ALL),
    Cell("nan-in-a-string", '"NaN"', _ALL),
    Cell("empty-string", '""', _ALL),
    Cell("nul-character", '"\\u0000"', _ALL),
    Cell("text", f'"{TEXT}"', _ALL),
    Cell("long-text", '"' + TEXT * 2000 + '"', _ALL),
    Cell("true", "true", ("float", "int", "string")),
    Cell("false", "false", ("float", "int", "string")),
    Cell("zero-for-a-boolean", "0", ("bool",)),
    Cell("one-for-a-boolean", "1", ("bool",)),
    Cell("true-in-a-string", '"true"', ("bool",)),
    Cell("number-for-a-string", NUMBER, ("string", "bool")),
    Cell("fraction-for-an-integer", NUMBER, ("int",)),
    Cell("2**63", str(2**63), ("int", "bool", "string")),
    Cell("-2**63-1", str(-(2**63) - 1), ("int", "bool", "string")),
    Cell("2**64", str(2**64), ("int", "bool", "string")),
    Cell("1e300", "1e300", ("float", "int", "bool", "string")),
    Cell("-1e300", "-1e300", ("float", "int", "bool", "string")),
    Cell("list", f"[{NUMBER}]", _ALL),
    Cell("empty-list", "[]", _ALL),
    Cell("object", f'{{"value": {NUMBER}}}', _ALL),
]

_PLACE = "@@here@@"


def column_for(facts: Facts, cell: Cell) -> Column | None:
    """Find a feature for which the value is wrong; null is wrong only where missing is."""
    for column in facts.columns:
        takes_any_text = column.dtype == "string" and column.categories is None and cell.raw.startswith('"')
        if column.dtype in cell.dtypes and not takes_any_text and not (cell.raw == "null" and column.nullable):
            return column
    return None


def with_cell(facts: Facts, column: Column, raw: str, form: str) -> Request:
    """Build a request of three good rows, then replace one value of row 1 by raw JSON text."""
    rows = facts.take(3)
    rows[ROW][facts.names.index(column.name)] = _PLACE
    path, document = _FORMS[form](facts, rows)
    return Request(path, orjson.dumps(document).replace(f'"{_PLACE}"'.encode(), raw.encode()))


def _v1(verb: str) -> Callable[[Facts, list[Any]], tuple[str, Any]]:
    return lambda facts, rows: (f"/v1/models/{facts.name}:{verb}", {"instances": rows})


def _v1_objects(facts: Facts, rows: list[Any]) -> tuple[str, Any]:
    return f"/v1/models/{facts.name}:predict", {"instances": [facts.record(row) for row in rows]}


def _v2_columns(facts: Facts, rows: list[Any]) -> tuple[str, Any]:
    columns = zip(facts.columns, zip(*rows, strict=True), strict=True)
    inputs = [{"name": c.name, "datatype": c.datatype, "shape": [len(rows)], "data": data} for c, data in columns]
    return infer_path(facts.name), {"inputs": inputs}


def _v2_metadata_form(facts: Facts, rows: list[Any]) -> tuple[str, Any]:
    if not facts.is_numeric:
        return _v2_columns(facts, rows)
    tensor = {"name": "features", "datatype": "FP64", "shape": [len(rows), len(facts.columns)], "data": rows}
    return infer_path(facts.name), {"inputs": [tensor]}


def _batch(facts: Facts, rows: list[Any]) -> tuple[str, Any]:
    instances = rows if facts.facade == "vector" else [facts.record(row) for row in rows]
    return "/predict/batch", {"instances": instances}


def _single(facts: Facts, rows: list[Any]) -> tuple[str, Any]:
    return "/predict", facts.record(rows[ROW])


_FORMS: dict[str, Callable[[Facts, list[Any]], tuple[str, Any]]] = {
    "v1": _v1("predict"),
    "v1-objects": _v1_objects,
    "v1-explain": _v1("explain"),
    "v2": _v2_metadata_form,
    "v2-columns": _v2_columns,
    "facade": _single,
    "facade-batch": _batch,
}
FORMS = tuple(_FORMS)
