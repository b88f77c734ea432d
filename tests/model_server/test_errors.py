"""Errors: each has one status, one gRPC code and one slug, and texts that hold no value."""

from __future__ import annotations

import re
from http import HTTPStatus

import grpc
import pytest

from model_server import errors
from model_server.errors import BugError, ContractError, ModelServerError, Violation

EXPECTED = {
    "ModelServerError": (500, None, "INTERNAL", "internal"),
    "ClientError": (400, None, "INVALID_ARGUMENT", "invalid-request"),
    "DecodeError": (400, 422, "INVALID_ARGUMENT", "malformed-request"),
    "BodyTooLarge": (413, 413, "RESOURCE_EXHAUSTED", "body-too-large"),
    "UnsupportedEncoding": (415, 415, "INVALID_ARGUMENT", "unsupported-encoding"),
    "ContractError": (400, 422, "INVALID_ARGUMENT", "contract-violation"),
    "UnknownOutput": (400, None, "INVALID_ARGUMENT", "unknown-output"),
    "Forbidden": (403, None, "PERMISSION_DENIED", "forbidden"),
    "NotSupported": (501, None, "UNIMPLEMENTED", "not-supported"),
    "NotFound": (404, None, "NOT_FOUND", "not-found"),
    "ModelNotFound": (404, None, "NOT_FOUND", "model-not-found"),
    "VersionNotFound": (404, None, "NOT_FOUND", "version-not-found"),
    "RouteNotFound": (404, None, "NOT_FOUND", "route-not-found"),
    "MethodNotAllowed": (405, None, "UNIMPLEMENTED", "method-not-allowed"),
    "Unavailable": (503, None, "UNAVAILABLE", "unavailable"),
    "ModelNotReady": (503, None, "UNAVAILABLE", "model-not-ready"),
    "Overloaded": (503, None, "RESOURCE_EXHAUSTED", "overloaded"),
    "BundleError": (503, None, "UNAVAILABLE", "bundle-error"),
    "BundleNotFound": (503, None, "UNAVAILABLE", "bundle-not-found"),
    "BundleExists": (503, None, "UNAVAILABLE", "bundle-exists"),
    "BundleTampered": (503, None, "UNAVAILABLE", "bundle-tampered"),
    "BundleIncompatible": (503, None, "UNAVAILABLE", "bundle-incompatible"),
    "BundleNotApproved": (503, None, "UNAVAILABLE", "bundle-not-approved"),
    "GoldenMismatch": (503, None, "UNAVAILABLE", "golden-mismatch"),
    "ConfigError": (500, None, "INTERNAL", "bad-setting"),
    "StartupFailed": (500, None, "INTERNAL", "startup-failed"),
    "BugError": (500, None, "INTERNAL", "internal"),
}

#: Errors after which the same request may succeed, and how many seconds later.
RETRIED = {"Unavailable": 1, "ModelNotReady": 1, "Overloaded": 1}


def classes() -> dict[str, type[ModelServerError]]:
    """Find every error class of the module."""
    return {
        name: value
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, ModelServerError)
    }


def test_every_error_answers_as_clients_were_told() -> None:
    """Statuses, codes and slugs are a promise: clients branch on them."""
    actual = {name: (e.http_status, e.facade_status, e.grpc_code, e.slug) for name, e in classes().items()}

    assert actual == EXPECTED


def test_only_what_passes_by_itself_says_when_to_retry() -> None:
    """A bad bundle stays bad, and a bad request too: a client that sends it again only adds load."""
    assert {name: e.retry_after_s for name, e in classes().items() if e.retry_after_s is not None} == RETRIED


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    """Whoever reads the tree reads the truth."""
    lines = re.findall(
        r"^    ([|` ]*)(?:-- )?(\w+)(?:  .*)?$", (errors.__doc__ or "").split("The tree::")[1], re.MULTILINE
    )
    path: list[str] = []
    for indent, name in lines:
        depth = len(indent) // 4 + bool(indent)
        path = [*path[:depth], name]
        if depth:
            assert classes()[name].__bases__ == (classes()[path[depth - 1]],), name

    assert {name for _, name in lines} == classes().keys()


@pytest.mark.parametrize("name", EXPECTED)
def test_statuses_and_codes_exist(name: str) -> None:
    """A misspelt gRPC code would only show up when that error happens."""
    error = classes()[name]

    assert isinstance(HTTPStatus(error.http_status), HTTPStatus)
    assert error.grpc_code in grpc.StatusCode.__members__


def test_slugs_tell_errors_apart() -> None:
    """Only a broken promise of ours shares the slug of the unnamed error."""
    slugs = [error.slug for name, error in classes().items() if name != "BugError"]

    assert len(slugs) == len(set(slugs))
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", slug) for slug in slugs)


@pytest.mark.parametrize(
    ("violation", "text"),
    [
        (Violation("must be 1"), "must be 1"),
        (Violation("must be 1", "age"), "feature 'age': must be 1"),
        (Violation("must be 1", row=0), "row 0: must be 1"),
        (Violation("must be 1", "age", 3), "feature 'age', row 3: must be 1"),
    ],
    ids=["request", "column", "row", "cell"],
)
def test_a_violation_names_its_place(violation: Violation, text: str) -> None:
    """Feature and row, as far as there are any, then the rule."""
    assert str(violation) == text


def test_many_violations_are_counted_rather_than_listed() -> None:
    """A request of ten thousand bad rows must not be answered by a megabyte."""
    error = ContractError([Violation("must be 1", row=row) for row in range(25)])

    assert str(error).count("must be 1") == 10
    assert str(error).endswith("row 9: must be 1; and 15 more")
    assert len(error.violations) == 25


def test_a_contract_error_without_violations_is_a_bug() -> None:
    """It would tell a client nothing."""
    with pytest.raises(BugError):
        ContractError([])
