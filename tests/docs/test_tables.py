"""The tables of the pages say what the code says."""

from __future__ import annotations

import logging

import orjson
import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb

from model_server.telemetry.logs import JsonFormatter
from model_server.telemetry.requests import REQUEST_KEYS
from tests.docs import tables
from tests.docs.pages import PAGES, page

REFERENCE = page("docs/reference.md")
PLACED = [(name, *found) for name in PAGES for found in tables.placed(page(name).text)]


@pytest.mark.parametrize(("name", "table", "text"), PLACED, ids=[f"{name} {table}" for name, table, _ in PLACED])
def test_a_table_says_what_the_code_says(name: str, table: str, text: str) -> None:
    """`python -m tests.docs.tables` writes them anew."""
    assert text == tables.render(tables.TABLES[table]()), name


def test_every_table_is_on_some_page() -> None:
    """A table that nobody placed is not read by anybody."""
    assert {table for _, table, _ in PLACED} == tables.TABLES.keys()


def test_an_outdated_table_is_found_and_put_right() -> None:
    """The comparison above must be able to fail, and its remedy must work."""
    stale = "before\n<!-- table: metrics -->\n| metric |\n| --- |\n| `gone_total` |\n\nafter\n"
    fresh = tables.renewed(stale)

    assert tables.placed(stale)[0][1] != tables.render(tables.metrics())
    assert tables.placed(fresh) == [("metrics", tables.render(tables.metrics()))]
    assert (fresh.splitlines()[0], fresh.splitlines()[-1]) == ("before", "after")


def test_the_keys_of_a_request_line_are_listed() -> None:
    """Whoever parses the log reads the table, not the code."""
    assert tuple(row[0].strip("`") for row in REFERENCE.table("Log lines")) == REQUEST_KEYS


def test_the_keys_of_every_line_are_listed() -> None:
    """The list is compared with the keys that the formatter itself writes."""
    record = logging.LogRecord("name", logging.INFO, "path", 1, "text", None, None)
    keys = orjson.loads(JsonFormatter().format(record))

    assert ", ".join(f"`{key}`" for key in keys).replace(", `message`", " and `message`") in REFERENCE.text


def test_every_grpc_method_is_listed() -> None:
    """The protocol's own list, from its definition."""
    methods = [method.name for method in pb.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods]

    assert [name for name in methods if f"`{name}`" not in REFERENCE.text] == []


def test_every_route_of_the_table_is_in_the_openapi_document() -> None:
    """Two lists of the same: what people read and what programs read."""
    from model_server.edge.api.openapi import document

    described = {f"{verb.upper()} {path}" for path, verbs in document(None)["paths"].items() for verb in verbs}

    assert {row[0].strip("`") for row in REFERENCE.table("Routes")} == described
