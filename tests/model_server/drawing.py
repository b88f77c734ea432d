"""How the properties of this folder draw their examples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from model_server.columns import EXACT_INT
from model_server.contract import Contract, Feature
from model_server.serving.datatypes import DATATYPES
from tests.bundles.contracts import VALUE

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn, SearchStrategy

#: All of the folder runs in under a minute, on machines of any speed: few examples, no deadline.
few = settings(max_examples=25, deadline=None)

names = st.text(st.characters(min_codepoint=32, codec="utf-8"), min_size=1, max_size=12)
texts = st.text(max_size=8)
finite = st.floats(-1e30, 1e30)
exact_ints = st.integers(-EXACT_INT, EXACT_INT)

_scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
#: Whatever JSON can hold, and what only other parsers let through.
ANYTHING = st.recursive(_scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner))


@st.composite
def features(draw: DrawFn, *, dtypes: tuple[str, ...] = ("float", "int", "bool", "string")) -> Feature:
    """Draw a feature with or without bounds, categories and missing values."""
    dtype: Any = draw(st.sampled_from(dtypes))
    fields: dict[str, Any] = {"name": draw(names), "dtype": dtype, "nullable": draw(st.booleans())}
    if dtype in ("float", "int") and draw(st.booleans()):
        fields["minimum"], fields["maximum"] = sorted(draw(st.tuples(st.integers(-99, 99), st.integers(-99, 99))))
        fields["out_of_bounds"] = draw(st.sampled_from(["reject", "warn"]))
    if dtype == "string" and draw(st.booleans()):
        fields["categories"] = tuple(draw(st.lists(texts, min_size=1, max_size=4, unique=True)))
    return Feature(**fields)


@st.composite
def contracts(draw: DrawFn, *, dtypes: tuple[str, ...] = ("float", "int", "bool", "string")) -> Contract:
    """Draw a contract of one to five features."""
    drawn = draw(st.lists(features(dtypes=dtypes), min_size=1, max_size=5, unique_by=lambda feature: feature.name))
    return Contract(features=tuple(drawn), output=VALUE)


def values(feature: Feature) -> SearchStrategy[Any]:
    """Draw values that a feature admits."""
    low, high = feature.bounds
    if feature.out_of_bounds == "warn":
        low, high = -1e9, 1e9
    kinds: dict[str, SearchStrategy[Any]] = {
        "float": finite if feature.minimum is None else st.floats(low, high),
        "int": exact_ints if feature.minimum is None else st.integers(int(low), int(high)),
        "bool": st.booleans(),
        "string": texts if feature.categories is None else st.sampled_from(feature.categories),
    }
    return st.none() | kinds[feature.dtype] if feature.nullable else kinds[feature.dtype]


@st.composite
def tables(draw: DrawFn, *, dtypes: tuple[str, ...] = ("float", "int", "bool", "string")) -> tuple[Contract, list[Any]]:
    """Draw a contract and one to six rows that it admits, as lists in contract order."""
    contract = draw(contracts(dtypes=dtypes))
    row = st.tuples(*map(values, contract.features)).map(list)
    return contract, draw(st.lists(row, min_size=1, max_size=6))


def elements(datatype: str) -> st.SearchStrategy[Any]:
    """Draw elements that a datatype holds exactly."""
    if datatype == "BYTES":
        return st.text(max_size=9)
    if datatype == "BOOL":
        return st.booleans()
    if datatype.startswith("FP"):
        width: Any = int(datatype[2:])
        return st.floats(width=width, allow_nan=False)
    limits = np.iinfo(DATATYPES[datatype].dtype)
    return st.integers(int(limits.min), int(limits.max))
