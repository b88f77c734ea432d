"""Whatever the rows: every protocol answers the same, a batch answers as its rows do, and order does not matter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conformance.facts import bits
from tests.conformance.protocols import PROTOCOLS, Answer, v1_lists, v2_binary_tensors, v2_json
from tests.conformance.wire import grpc_raw, v1, v2, v2_binary
from tests.properties.rows import rows

if TYPE_CHECKING:
    from tests.conformance.launch import Served

# The server is shared by all examples on purpose.
LAW = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def exact(answer: Answer) -> Answer:
    """Replace numbers by their bits."""
    return {name: bits(values) for name, values in answer.items()}


@pytest.mark.parametrize("protocol", [name for name in PROTOCOLS if name != "v2-json"])
@LAW
@given(data=st.data())
def test_every_protocol_gives_the_same_bits(served: Served, protocol: str, data: st.DataObject) -> None:
    """v1 = v2 JSON = v2 binary = gRPC typed = gRPC raw, for any valid rows."""
    drawn = data.draw(rows(served.facts))
    expected = v2_json(served.target, served.facts, drawn)
    assert exact(PROTOCOLS[protocol](served.target, served.facts, drawn)) == exact(expected)


@LAW
@given(data=st.data())
def test_a_batch_answers_as_its_rows_do(served: Served, data: st.DataObject) -> None:
    """Exactly for trees; to 1e-12 where BLAS may sum in another order."""
    drawn = data.draw(rows(served.facts, at_most=12))
    batch = v2_json(served.target, served.facts, drawn)
    singles = [v2_json(served.target, served.facts, [row]) for row in drawn]
    for name, values in batch.items():
        joined: list[Any] = [single[name][0] for single in singles]
        if name in {"label", "tier"} or "sklearn.ensemble" in served.facts.estimator:
            assert bits(values) == bits(joined)
        else:
            np.testing.assert_allclose(values, joined, rtol=0, atol=1e-12)


@LAW
@given(data=st.data())
def test_the_order_of_keys_and_tensors_does_not_matter(served: Served, data: st.DataObject) -> None:
    """Objects on v1, columns on v2 JSON, v2 binary and gRPC: shuffled, the answer stays."""
    target, facts = served.target, served.facts
    drawn = data.draw(rows(facts, at_most=3))
    order = data.draw(st.permutations(range(len(facts.columns))))
    expected = exact(v1_lists(target, facts, drawn))
    objects = [{facts.names[i]: row[i] for i in order} for row in drawn]
    predictions = target.send(v1(facts.name, objects)).json()["predictions"]
    assert predictions == target.send(v1(facts.name, drawn)).json()["predictions"]
    columns = facts.by_column(drawn)
    shuffled = [columns[i] for i in order]
    assert exact(target.outputs(v2(facts.name, shuffled))) == expected
    assert exact(target.outputs(v2_binary(facts.name, shuffled))) == expected
    assert exact(target.grpc_outputs(grpc_raw(facts.name, shuffled))) == expected


@LAW
@given(data=st.data())
def test_the_order_of_rows_is_kept(served: Served, data: st.DataObject) -> None:
    """Shuffled rows get their own answers in the shuffled order."""
    drawn = data.draw(rows(served.facts, at_most=8))
    order = data.draw(st.permutations(range(len(drawn))))
    straight = v2_binary_tensors(served.target, served.facts, drawn)
    shuffled = v2_binary_tensors(served.target, served.facts, [drawn[i] for i in order])
    for name, values in straight.items():
        if name in {"label", "tier"}:
            assert shuffled[name] == [values[i] for i in order]
        else:
            np.testing.assert_allclose(shuffled[name], [values[i] for i in order], rtol=0, atol=1e-12)
