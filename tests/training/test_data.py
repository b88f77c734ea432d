"""The table: the contract holds for every row, the hash says what is in it, and errors name column, row and rule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from tests.bundles.visits import visits, write_config
from training import data
from training.config import load
from training.errors import BadData

if TYPE_CHECKING:
    from pathlib import Path

    from training.data import Table


def _table(folder: Path, changes: dict[str, Any] | None = None, rows: list[dict[str, Any]] | None = None) -> Table:
    path = write_config(folder, changes, rows)
    return data.load(load(path), path.parent)


def test_a_csv_becomes_typed_columns_with_missing_values(tmp_path: Path) -> None:
    """A stranger's table needs no code: the contract of the YAML types it."""
    table = _table(tmp_path)
    frame = table.frame
    assert table.n_rows == len(visits())
    assert [frame.column(name).dtype.kind for name in frame.names] == ["f", "f", "O", "b"]
    assert np.isnan(frame.column("age")).any()
    assert None in frame.column("city").tolist()
    assert set(table.target.tolist()) == {"yes", "no"}
    assert table.row_ids[:2] == ("V0000", "V0001")


def test_the_hash_follows_content_and_not_the_file(tmp_path: Path) -> None:
    """A lineage names what was learned from; where it lay is no part of that."""
    rows = visits()
    changed = [dict(row) for row in rows]
    changed[7]["bought"] = "no" if rows[7]["bought"] == "yes" else "yes"
    assert _table(tmp_path / "a", rows=rows).sha256 == _table(tmp_path / "b", rows=rows).sha256
    assert _table(tmp_path / "a", rows=rows).sha256 != _table(tmp_path / "c", rows=changed).sha256


def test_the_same_table_as_parquet_is_the_same_data_set(tmp_path: Path) -> None:
    """The content is hashed, not the file; types of Parquet and texts of CSV come to the same."""
    texts = pd.DataFrame(visits())
    typed = texts.assign(
        age=pd.to_numeric(texts["age"]).astype("Int64"),
        basket=pd.to_numeric(texts["basket"].replace("NA", None)),
        city=texts["city"].replace("", None),
        member=texts["member"] == "true",
    )
    path = write_config(tmp_path, {"data.path": "visits.parquet"})
    typed.to_parquet(tmp_path / "visits.parquet", index=False)
    assert data.load(load(path), tmp_path).sha256 == _table(tmp_path / "csv").sha256


def _with(row: int, **values: Any) -> list[dict[str, Any]]:
    rows = visits()
    rows[row].update(values)
    return rows


@pytest.mark.parametrize(
    ("rows", "changes", "words"),
    [
        pytest.param(_with(7, age=121), {}, ["'age'", "row 7", "0..120"], id="out of bounds"),
        pytest.param(_with(7, basket="full"), {}, ["'basket'", "row 7", "a finite number"], id="word for a number"),
        pytest.param(_with(7, city="Genf"), {}, ["'city'", "row 7", "'Bern'"], id="unknown category"),
        pytest.param(_with(7, member=""), {}, ["'member'", "row 7", "true or false"], id="missing, not nullable"),
        pytest.param(_with(7, bought=""), {}, ["target 'bought'", "row 7", "leave such rows out"], id="no target"),
        pytest.param(_with(7, visit="V0001"), {}, ["row_id", "row 7", "repeats row 1"], id="repeated id"),
        pytest.param(
            visits(), {"target.classes": ["no", "often", "yes"]}, ["never has ['often']"], id="class that never comes"
        ),
        pytest.param(visits(), {"target.classes": ["no", "often"]}, ["row", "none of target.classes"], id="classes"),
        pytest.param(
            [row | {"bought": "no"} for row in visits()], {}, ["target 'bought'", "one class only"], id="one class"
        ),
        pytest.param(visits(), {"target.column": "price"}, ["'price' is not in the table", "bought"], id="column"),
        pytest.param(visits(), {"target.task": "regression"}, ["'bought'", "must hold numbers"], id="words to predict"),
        pytest.param(
            [row | {"bought": "inf"} for row in visits()],
            {"target.task": "regression"},
            ["'bought'", "must be finite", "row 0"],
            id="infinite target",
        ),
        pytest.param(
            visits(), {"split": {"by": "time", "column": "city"}}, ["'city'", "missing in row"], id="gap in the time"
        ),
        pytest.param(
            [row | {"day": "3rd of May"} for row in visits()],
            {"split": {"by": "time", "column": "day"}},
            ["'day'", "ISO 8601"],
            id="no time",
        ),
    ],
)
def test_a_faulty_table_is_told_by_column_row_and_rule(
    tmp_path: Path, rows: list[dict[str, Any]], changes: dict[str, Any], words: list[str]
) -> None:
    """The person who has the table can find and mend it."""
    with pytest.raises(BadData) as caught:
        _table(tmp_path, changes, rows)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_integers_truth_values_and_words_are_labels(tmp_path: Path) -> None:
    """Whole numbers and truth values are integer labels, everything else is text."""
    as_numbers = [row | {"bought": int(row["bought"] == "yes")} for row in visits()]
    as_truth = [row | {"bought": str(row["bought"] == "yes")} for row in visits()]
    numbers, truth = _table(tmp_path / "a", rows=as_numbers).target, _table(tmp_path / "b", rows=as_truth).target
    assert numbers.dtype == np.int64
    assert numbers.tolist() == truth.tolist() == [int(row["bought"] == "yes") for row in visits()]


def test_dates_with_and_without_a_zone_are_one_time_line(tmp_path: Path) -> None:
    """Midnight in UTC is the same moment however it is written."""
    rows = [
        row | {"day": "2026-01-01" if index % 2 else "2026-01-01T01:00:00+01:00"} for index, row in enumerate(visits())
    ]
    table = _table(tmp_path, {"split": {"by": "time", "column": "day"}}, rows)
    assert table.time is not None
    assert len(set(table.time.tolist())) == 1


def test_row_ids_are_positions_where_no_column_names_them(tmp_path: Path) -> None:
    """The split can be written down for any table."""
    assert _table(tmp_path, {"row_id": None}).row_ids[:3] == ("0", "1", "2")
