"""Contracts and manifests that tests declare; knows no files and no pipelines."""

from __future__ import annotations

from typing import Any

from model_server.contract import Contract, Feature, Output
from model_server.manifest import Dataset, Lineage, Manifest, installed_libraries

VALUE = Output(target="y", task="regression", decision="value", probabilities=False)


def numbers(count: int, *, nullable: bool = False) -> tuple[Feature, ...]:
    """Declare features x0, x1, … that take any number."""
    return tuple(Feature(name=f"x{index}", dtype="float", nullable=nullable) for index in range(count))


def classes(*labels: int | str, positive: int | str | None = None) -> Output:
    """Declare the output of a classification; with a positive class it is decided by threshold, else by argmax."""
    decision: Any = "argmax" if positive is None else "threshold"
    return Output(
        target="y", task="classification", classes=labels, positive=positive, decision=decision, probabilities=True
    )


def manifest(contract: Contract, **changes: Any) -> Manifest:
    """Make a manifest without files."""
    lineage = Lineage(
        run_id="0123456789abcdef",
        dataset=Dataset(name="made up", sha256="0" * 64, n_rows=100, source="generated"),
        config_sha256="1" * 64,
        git_commit="unknown",
        git_dirty=False,
        lock_sha256="unknown",
        label_definition="made up",
        estimator="sklearn",
    )
    fields = {"name": "small", "version": "1.0.0", "libraries": installed_libraries()} | changes
    return Manifest(contract=contract, lineage=lineage, **fields)


#: The smallest contracts, by what they take.
ONE = Contract(features=numbers(1), output=VALUE)
TWO = Contract(features=numbers(2), output=VALUE)
INT = Contract(features=(Feature(name="n", dtype="int"),), output=VALUE)
FLAG = Contract(features=(Feature(name="on", dtype="bool"),), output=VALUE)
MIXED = Contract(features=(Feature(name="x", dtype="float"), Feature(name="word", dtype="string")), output=VALUE)
MAYBE = Contract(features=numbers(2, nullable=True), output=VALUE)
