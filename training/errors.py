"""Errors of training; knows what a person can do wrong with a table, a configuration or the registry.

The tree, all of them ``ModelServerError``::

    TrainingError
    |-- BadConfig       the YAML is wrong; the text names file, key path and rule
    |-- BadData         the table is wrong; the text names file, column, row and rule
    |-- GatesFailed     a model is not good enough; the text names metric, value, limit and what to do
    |-- ExtraMissing    what was asked for needs packages that are not installed
    |-- NotApproved     the registry refuses to change what is in production
    `-- BadArtifact     a file that was to be adopted does not fit

The command line prints the text of any of them as one line and ends with ``exit_code``.
"""

from __future__ import annotations

from typing import ClassVar

from model_server.errors import ModelServerError


class TrainingError(ModelServerError):
    """Base of the errors of training."""

    slug = "training"
    exit_code: ClassVar[int] = 2


class BadConfig(TrainingError):
    """A training configuration is wrong."""

    slug = "bad-config"


class BadData(TrainingError):
    """A table does not keep what the configuration says of it."""

    slug = "bad-data"


class GatesFailed(TrainingError):
    """A model was trained and is not good enough."""

    slug = "gates-failed"
    exit_code = 1


class NotApproved(TrainingError):
    """The registry refuses to change what is in production."""

    slug = "not-approved"
    exit_code = 1


class ExtraMissing(TrainingError):
    """What was asked for needs packages that are not installed; the text says how to install them."""

    slug = "extra-missing"


class BadArtifact(TrainingError):
    """A file that was to be adopted does not fit."""

    slug = "bad-artifact"
