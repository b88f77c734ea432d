"""The server keeps what its OpenAPI page promises: schemathesis draws requests from it and holds answers to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis.specs.openapi import checks

if TYPE_CHECKING:
    from tests.conformance.launch import Served

EXAMPLES_PER_OPERATION = 20


@pytest.mark.fuzz
def test_answers_keep_the_promises_of_the_openapi_page(served: Served, fuzz_seed: int) -> None:
    """No 5xx, no undocumented status, no undocumented content type, and bodies of the documented form."""
    schema = schemathesis.openapi.from_url(f"{served.target.base_url}/openapi.json")
    tried = 0
    for result in schema.get_all_operations():
        operation: Any = result.ok()  # type: ignore[union-attr] # an error here fails the test, as it should
        if operation.path in {"/docs", "/redoc"} or "unload" in operation.path:
            continue
        tried += 1
        _keeps_its_promises(served, operation, fuzz_seed)
    assert tried > 15, "the page shows too few operations"


def _keeps_its_promises(served: Served, operation: Any, fuzz_seed: int) -> None:
    @seed(fuzz_seed)
    @settings(
        max_examples=EXAMPLES_PER_OPERATION,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(case=operation.as_strategy(), is_ours=st.booleans())
    def law(case: Any, *, is_ours: bool) -> None:
        if is_ours and case.path_parameters:
            ours = {"model_name": served.facts.name, "model_version": served.facts.version}
            case.path_parameters.update({name: ours[name] for name in case.path_parameters})
        response = case.call(base_url=served.target.base_url)
        # A page cannot say what the contract of a model admits: a refused request may well have the form of its schema.
        case.validate_response(response, excluded_checks=[checks.positive_data_acceptance])

    law()
