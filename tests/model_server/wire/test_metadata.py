"""Metadata of a model: the inputs and outputs that it announces are those that it takes and gives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from model_server.serving.call import available_outputs
from model_server.wire.metadata import inputs_of, model_metadata, outputs_of
from tests.bundles.catalogue import NUMBERS, PEOPLE
from tests.model_server.answers import answer, read_v2

if TYPE_CHECKING:
    from model_server.serving.loaded import LoadedBundle


@pytest.mark.parametrize("name", ["linear", "risk", "people"])
def test_metadata_describe_what_is_answered(name: str, request: pytest.FixtureRequest) -> None:
    """Names, datatypes and shapes of both sides, -1 for the batch."""
    loaded: LoadedBundle = request.getfixturevalue(name)
    found = answer(loaded, PEOPLE if name == "people" else NUMBERS)
    document = model_metadata(loaded.name, loaded.version, loaded.contract)

    assert document["outputs"] == outputs_of(loaded.contract)
    assert document["versions"] == ["1.0.0"]
    assert document["platform"] == "sklearn"
    announced = [(o["name"], o["datatype"], [2, *o["shape"][1:]]) for o in document["outputs"]]
    assert announced == [(o["name"], o["datatype"], o["shape"]) for o in read_v2(found)["outputs"]]
    assert tuple(o["name"] for o in document["outputs"]) == available_outputs(loaded.contract)


def test_metadata_show_one_matrix_for_numbers(linear: LoadedBundle) -> None:
    """One tensor is what clients of sklearnserver send."""
    assert inputs_of(linear.contract) == [{"name": "features", "datatype": "FP64", "shape": [-1, 3]}]


def test_metadata_show_one_input_a_column_for_mixed_features(people: LoadedBundle) -> None:
    """A column that may be missing is floating point, whose NaN says so in binary data."""
    assert inputs_of(people.contract) == [
        {"name": "age", "datatype": "INT64", "shape": [-1]},
        {"name": "income", "datatype": "FP64", "shape": [-1]},
        {"name": "member", "datatype": "BOOL", "shape": [-1]},
        {"name": "plan", "datatype": "BYTES", "shape": [-1]},
    ]
