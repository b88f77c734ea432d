"""The facade's responses: Answer -> one plain JSON object a row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from model_server.wire.outputs import tiers

if TYPE_CHECKING:
    from model_server.contract import Contract, Feature, Output
    from model_server.explain import Reason
    from model_server.serving.call import Answer

#: Decimals of a probability of some class, of the one probability of a risk, and of a contribution.
CLASS_DECIMALS, RISK_DECIMALS, CONTRIBUTION_DECIMALS = 6, 4, 4

Scalar = float | int | bool | str | None


def shows_risk(output: Output) -> bool:
    """Say whether a model's answer is one probability with its tier, and reasons unless they are not wanted."""
    return bool(output.tiers) and output.task == "classification"


def risk_key(output: Output) -> str:
    """Name the probability of the positive class."""
    return f"{output.target}_probability"


def class_key(label: int | str) -> str:
    """Name the probability of one class."""
    return f"class_{label}"


def documents(answer: Answer, *, echo: bool = True) -> list[dict[str, Any]]:
    """Lay an answer out as the facade does.

    Args:
        answer: What the service found.
        echo: Whether each object echoes the request's identifier.

    Returns:
        One object a row.
    """
    output = answer.loaded.contract.output
    tail: dict[str, Scalar] = {}
    if shows_risk(output):
        rows = _risks(answer)
    else:
        rows = _values(answer) if output.task == "regression" else _labels(answer)
        tail["n_features_in"] = len(answer.loaded.contract.names)
        if answer.loaded.manifest.serving.facade == "record":
            rows = [{**generic, **row} for generic, row in zip(_generic(answer), rows, strict=True)]
    if answer.result.reasons:
        for row, reasons in zip(rows, _top_reasons(answer), strict=True):
            row["top_reasons"] = reasons
    if echo and answer.call.id is not None:
        tail["request_id"] = answer.call.id
    return [{**row, "model_version": answer.loaded.version, **tail} for row in rows]


def batch_document(answer: Answer, elapsed_s: float) -> dict[str, Any]:
    """Lay an answer out as ``/predict/batch`` does.

    Args:
        answer: What the service found.
        elapsed_s: Seconds since the request was complete.
    """
    predictions = documents(answer, echo=False)
    echo = {} if answer.call.id is None else {"request_id": answer.call.id}
    return {
        "predictions": predictions,
        "model_version": answer.loaded.version,
        "n_instances": len(predictions),
        "batch_size": len(predictions),
        "processing_time_ms": round(elapsed_s * 1000, 2),
        **echo,
    }


def _risks(answer: Answer) -> list[dict[str, Any]]:
    output = answer.loaded.contract.output
    numbers = np.asarray(answer.result.prediction.probabilities)[:, output.positive_index].tolist()
    return [
        {risk_key(output): round(number, RISK_DECIMALS), "risk_tier": tier}
        for number, tier in zip(numbers, tiers(answer.result.prediction, answer.loaded.contract.output), strict=True)
    ]


def _values(answer: Answer) -> list[dict[str, Any]]:
    values = [] if answer.result.prediction.values is None else answer.result.prediction.values.tolist()
    rows: list[dict[str, Any]] = [{"value": value} for value in values]
    if answer.loaded.contract.output.tiers:
        for row, tier in zip(rows, tiers(answer.result.prediction, answer.loaded.contract.output), strict=True):
            row["tier"] = tier
    return rows


def _labels(answer: Answer) -> list[dict[str, Any]]:
    prediction, classes = answer.result.prediction, answer.loaded.contract.output.classes
    labels = [] if prediction.labels is None else prediction.labels.tolist()
    rows: list[dict[str, Any]] = [{"label": label} for label in labels]
    if prediction.probabilities is not None:
        keys = [class_key(label) for label in classes]
        for row, numbers in zip(rows, prediction.probabilities.tolist(), strict=True):
            row["probabilities"] = {
                key: round(number, CLASS_DECIMALS) for key, number in zip(keys, numbers, strict=True)
            }
    return rows


def _generic(answer: Answer) -> list[dict[str, Any]]:
    """Give what every answer has under the same name: the readable class or the value, and the label's probability."""
    output, prediction = answer.loaded.contract.output, answer.result.prediction
    if prediction.labels is None:
        return [{"prediction": value} for value in ([] if prediction.values is None else prediction.values.tolist())]
    at = [output.classes.index(label) for label in prediction.labels.tolist()]
    names = output.class_names or output.classes
    if prediction.probabilities is None:
        return [{"prediction": names[index]} for index in at]
    numbers = prediction.probabilities[range(len(at)), at].tolist()
    return [
        {"prediction": names[index], "probability": round(number, CLASS_DECIMALS)}
        for index, number in zip(at, numbers, strict=True)
    ]


def _top_reasons(answer: Answer) -> list[list[dict[str, Any]]]:
    features = {feature.name: feature for feature in answer.loaded.contract.features}
    is_risk = shows_risk(answer.loaded.contract.output)
    rows = answer.result.frame.to_rows()
    return [
        [
            _reason(reason, features[reason.feature], _at(answer.loaded.contract, row, reason), is_risk=is_risk)
            for reason in reasons
        ]
        for row, reasons in zip(rows, answer.result.reasons, strict=True)
    ]


def _at(contract: Contract, row: list[Scalar], reason: Reason) -> Scalar:
    return row[contract.names.index(reason.feature)]


def _reason(reason: Reason, feature: Feature, value: Scalar, *, is_risk: bool) -> dict[str, Any]:
    about = {} if is_risk else {"output": reason.output}
    return {
        "feature": reason.feature,
        "value": encoded(feature, value),
        # The zero that is added turns -0.0 into 0.0.
        "shap_contribution": round(reason.contribution, CONTRIBUTION_DECIMALS) + 0.0,
        "direction": f"{reason.direction}_risk" if is_risk else reason.direction,
        "space": reason.space,
        **about,
    }


def encoded(feature: Feature, value: Scalar) -> float | str | None:
    """Give a value as a number: the index of a category, 0 or 1 for a flag; without categories a string stays one."""
    if isinstance(value, str):
        return value if feature.categories is None else float(feature.categories.index(value))
    return None if value is None else float(value)
