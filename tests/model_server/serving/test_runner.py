"""Calls that share a batch: each gets its own rows' answers, and a bad one fails alone, with its own places."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from model_server.errors import BugError, ContractError, NotSupported
from model_server.explain import Reason
from model_server.frame import Frame
from model_server.predictor import Prediction
from model_server.serving.call import PLAIN, BatchResult, Call, Options, Result, join_results, result_of
from model_server.serving.observers import Observers
from model_server.serving.runner import QUICK_S, BatchKey, BatchRunner, Pace
from model_server.serving.tensors import Tensor
from model_server.telemetry.metrics import Metrics
from model_server.wire.tensors import decode_raw
from tests.bundles.catalogue import NUMBERS, PEOPLE

if TYPE_CHECKING:
    from model_server.serving.loaded import LoadedBundle


@pytest.fixture
def metrics() -> Metrics:
    """Metrics of their own."""
    return Metrics(CollectorRegistry())


@pytest.fixture
def runner(metrics: Metrics) -> BatchRunner:
    """A runner that counts there."""
    return BatchRunner(metrics, Observers())


def rows_call(*rows: Any) -> Call:
    """Write rows as v1 does."""
    return Call(rows=list(rows))


def json_call(*rows: list[float]) -> Call:
    """Write rows as one tensor of v2 JSON."""
    flat = [value for row in rows for value in row]
    return Call(tensors=(Tensor("features", "FP64", (len(rows), 3), flat),))


def binary_call(*rows: list[float]) -> Call:
    """Write rows as one tensor of binary data."""
    return Call(tensors=(decode_raw("features", "FP64", (len(rows), 3), np.array(rows, dtype="<f8").tobytes()),))


def column_call(*rows: list[float]) -> Call:
    """Write rows as one tensor a feature."""
    columns = zip(*rows, strict=True)
    return Call(tensors=tuple(Tensor(f"x{i}", "FP64", (len(rows),), list(c)) for i, c in enumerate(columns)))


FORMS = [rows_call, json_call, binary_call, column_call]


def numbers(result: Result | Exception) -> list[float]:
    """Read the values of an answer."""
    assert isinstance(result, Result)
    values = result.prediction.values
    assert values is not None
    return [float(value) for value in values]


def refusal(result: Result | Exception) -> str:
    """Read the text of a refusal."""
    assert isinstance(result, ContractError)
    return str(result)


def test_calls_of_every_form_share_a_batch(linear: LoadedBundle, runner: BatchRunner, metrics: Metrics) -> None:
    """v1, v2, binary and columns; each gets the answers of its own rows, in order."""
    rows = [[float(i), 0.5, -1.0] for i in range(8)]
    calls = [FORMS[i % 4](rows[i], rows[(i + 3) % 8]) for i in range(8)]
    expected = linear.predictor.predict(linear.contract.frame(rows)).values
    assert expected is not None

    results = runner.run(BatchKey(linear, PLAIN), calls)

    for i, result in enumerate(results):
        assert numbers(result) == pytest.approx([expected[i], expected[(i + 3) % 8]], rel=1e-12)
    assert metrics.registry.get_sample_value("model_server_inference_seconds_count", {"model_version": "1.0.0"}) == 1
    assert metrics.registry.get_sample_value("model_server_rows_total", {"model_version": "1.0.0"}) == 16


@pytest.mark.parametrize("form", FORMS, ids=["rows", "json", "binary", "columns"])
def test_a_bad_call_fails_alone_with_its_own_places(
    form: Any, linear: LoadedBundle, runner: BatchRunner, metrics: Metrics
) -> None:
    """The places are not those among the rows that it was checked with."""
    good, bad = NUMBERS, [NUMBERS[0], [1.0, 1e31, 1.0]]

    first, second, third = runner.run(BatchKey(linear, PLAIN), [form(*good), form(*bad), form(*good)])

    assert numbers(first) == numbers(third)
    assert refusal(second).startswith("feature 'x1', row 1: ")
    assert metrics.registry.get_sample_value("model_server_contract_violations_total", {"feature": "x1"}) == 1


def test_when_all_calls_are_bad_the_model_is_not_asked(
    linear: LoadedBundle, runner: BatchRunner, metrics: Metrics
) -> None:
    """Each is told what is wrong with it."""
    results = runner.run(BatchKey(linear, PLAIN), [rows_call([1.0]), json_call([1e31, 1.0, 1.0]), rows_call("x")])

    assert [type(result) for result in results] == [ContractError] * 3
    assert "must have 3 values" in refusal(results[0])
    assert metrics.registry.get_sample_value("model_server_rows_total", {"model_version": "1.0.0"}) is None


def test_rows_of_mixed_columns_share_a_batch(people: LoadedBundle, runner: BatchRunner) -> None:
    """Rows as lists and rows as objects are checked and predicted together."""
    names = people.contract.names
    objects = [dict(zip(names, row, strict=True)) for row in PEOPLE]

    results = runner.run(BatchKey(people, PLAIN), [rows_call(*PEOPLE), rows_call(*objects), rows_call({"age": 1})])

    first, second, third = results
    assert isinstance(first, Result)
    assert isinstance(second, Result)
    assert first.prediction.labels is not None
    assert second.prediction.labels is not None
    assert first.prediction.labels.tolist() == second.prediction.labels.tolist()
    assert "is missing" in refusal(third)


def test_reasons_are_each_rows_own(risk: LoadedBundle, runner: BatchRunner) -> None:
    """A row has as many as were asked for, whatever it was predicted with."""
    one, two = runner.run(BatchKey(risk, Options(2)), [rows_call(NUMBERS[0]), rows_call(*NUMBERS)])

    assert isinstance(one, Result)
    assert isinstance(two, Result)
    assert [len(reasons) for reasons in (*one.reasons, *two.reasons)] == [2, 2, 2]
    assert one.reasons[0] == two.reasons[0]


def test_the_explainer_is_asked_for_reasons_alone(risk: LoadedBundle, runner: BatchRunner) -> None:
    """One that can explain nothing refuses whoever asks it; a call that wants no reasons does not notice."""
    unexplained = replace(risk, _explainer="nothing explains this model")

    assert isinstance(runner.run(BatchKey(unexplained, PLAIN), [rows_call(*NUMBERS)])[0], Result)
    with pytest.raises(NotSupported, match="nothing explains"):
        runner.run(BatchKey(unexplained, Options(2)), [rows_call(*NUMBERS)])


def test_only_frames_are_cut(linear: LoadedBundle, runner: BatchRunner) -> None:
    """A large call is checked before it is queued."""
    frame = linear.contract.frame(NUMBERS)

    part = runner.cut(frame, slice(1, 2))
    assert isinstance(part, Frame)
    assert part.to_rows() == NUMBERS[1:]
    with pytest.raises(BugError):
        runner.cut(rows_call(*NUMBERS), slice(1, 2))


def test_a_pipeline_is_never_called_quick(people: LoadedBundle, runner: BatchRunner) -> None:
    """Its own code may take any time; only kernels that were quick of late run on the event loop."""
    runner.run(BatchKey(people, PLAIN), [rows_call(*PEOPLE)])

    assert QUICK_S < 0.01
    assert not runner.is_quick(BatchKey(people, Options(3)))


# --- results ----------------------------------------------------------------------------------------------------------


def reason(name: str) -> Reason:
    """Make a reason of that feature."""
    return Reason(name, 0.5, "increases", "value", "y")


@given(cuts=st.lists(st.integers(0, 12), max_size=5), seed=st.integers(0, 99), n_classes=st.integers(0, 3))
def test_joining_undoes_taking(cuts: list[int], seed: int, n_classes: int) -> None:
    """For rows, labels, probabilities, values and reasons, wherever the cuts are."""
    rng = np.random.default_rng(seed)
    frame = Frame(("x",), ("float",), 12, matrix=rng.random((12, 1)))
    prediction = (
        Prediction(labels=rng.integers(0, 3, 12), probabilities=rng.random((12, n_classes)))
        if n_classes
        else Prediction(values=rng.random(12))
    )
    reasons = tuple((reason(str(row)),) for row in range(12)) if seed % 2 else ()
    whole = result_of(BatchResult(frame, prediction, reasons))
    places = sorted({0, 12, *cuts})

    joined = join_results([whole.take(*pair) for pair in pairwise(places)])

    for name in ("labels", "probabilities", "values"):
        expected, actual = getattr(whole.prediction, name), getattr(joined.prediction, name)
        assert (expected is None and actual is None) or np.array_equal(expected, actual)
    assert joined.reasons == whole.reasons
    assert joined.frame.to_rows() == frame.to_rows()


def test_a_wait_for_the_processor_does_not_make_a_call_long(linear: LoadedBundle) -> None:
    """A busy machine stretches time on the wall; only calls that compute for long leave the event loop."""
    pace = Pace()
    pace.took(linear, 0.001, pace.clock())
    for _ in range(50):
        pace.took(linear, 1.0, pace.clock() * 0 + 0.002)  # the first of them was not expected: its clock was not read

    assert pace.of(linear) < QUICK_S
    for _ in range(50):
        pace.took(linear, 1.0, 0.5)
    assert pace.of(linear) > QUICK_S
    for _ in range(100):
        pace.took(linear, 0.001, pace.clock() * 0)
    assert pace.of(linear) < QUICK_S
