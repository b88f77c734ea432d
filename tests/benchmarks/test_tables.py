"""Tables: ratios within a round, medians over rounds, and the same numbers in a terminal and on a page."""

from __future__ import annotations

from benchmarks import tables
from benchmarks.measurements import Cell
from tests.benchmarks.records import ONE, OTHER, record


def test_figures_have_a_line_a_server_and_protocol() -> None:
    """The quickest first, every round in its spread, and nothing of another size."""
    records = [
        record(0, "kserve", ONE, 10, float("nan")),
        record(0, "ours", ONE, 100),
        record(1, "ours", ONE, 300),
        record(0, "ours", Cell("v1", 512, 8), 7),
    ]

    head, ours, kserve = tables.figures(records, 1, 32)

    assert ours[:4] == ["ours", "v1", "200 (100 to 300)", ""]
    assert kserve[:5] == ["kserve", "v1", "10 (10 to 10)", "10 \N{MULTIPLICATION SIGN} (10 to 10)", "none"]
    assert len(head) == len(ours) == len(kserve)


def test_nothing_measured_is_an_empty_table() -> None:
    """A cell without measurements has no median either."""
    assert tables.figures([], 1, 32) == [tables.HEAD]
    assert tables.spread([float("nan")]) is None
    assert tables.speed([], "ours", ONE) == 0


def test_servers_are_compared_with_ours_of_the_same_protocol() -> None:
    """Or with v1, if they have a JSON of their own; within a round alone."""
    own = Cell("own", 1, 32)
    records = [
        record(0, "ours", ONE, 100),
        record(0, "ours", OTHER, 50),
        record(0, "fastapi", own, 10),
        record(0, "mlserver", OTHER, 10),
        record(1, "fastapi", own, 1),
    ]

    assert str(tables.times(records, "fastapi", own)) == "10 (10 to 10)"
    assert str(tables.times(records, "mlserver", OTHER)) == "5 (5 to 5)"
    assert tables.times([record(0, "kserve", ONE, 1)], "kserve", ONE) is None
    assert tables.times([record(0, "ours", ONE, 1), record(0, "kserve", ONE, 0)], "kserve", ONE) is None


def test_sizes_are_in_order() -> None:
    """Readers look for a cell by its rows first, and then by its connections."""
    records = [record(0, "ours", Cell("v1", *size), 1) for size in ((32, 1), (1, 256), (1, 1), (1, 1))]

    assert tables.sizes(records) == [(1, 1), (1, 256), (32, 1)]


def test_tables_can_be_read_anywhere() -> None:
    """They are made for a terminal and for a page."""
    rows = [["a", "bb"], ["ccc", "d"]]

    assert tables.plain(rows) == "a    bb\nccc  d\n"
    assert tables.markdown(rows) == "| a | bb |\n| --- | --- |\n| ccc | d |\n"


def test_numbers_are_short() -> None:
    """Three digits say what a measurement knows; more would pretend to."""
    assert [tables.short(number) for number in (12345.6, 99.96, 0.01234, -250.4)] == ["12,346", "100", "0.0123", "-250"]
