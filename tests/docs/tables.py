"""The tables of the pages that follow from the code; `python -m tests.docs.tables` writes them, a test compares them.

In a page, a table stands below a comment with its name: ``<!-- table: settings -->``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, get_args, get_origin

import yaml
from prometheus_client import CollectorRegistry

from model_server.edge.api.operations import routes
from model_server.settings import ENVIRONMENT, Settings
from model_server.telemetry.metrics import Metrics
from tests.docs import raised
from tests.docs.pages import PAGES, ROOT
from training import config as configs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from model_server.feature import Feature

Table = list[list[str]]


def code(text: object) -> str:
    """Set a text as code."""
    return f"`{text}`"


def settings() -> Table:
    """List every setting."""
    rows = [["key", "also in the environment as", "default", "meaning"]]
    for key, field in Settings.model_fields.items():
        names = ENVIRONMENT.get(key, ())
        default = "" if field.default is None else code(_written(field.default))
        rows.append([code(key), ", ".join(map(code, names)), default, _meaning(field)])
    return rows


def _meaning(field: Any) -> str:
    choices = get_args(field.annotation) if get_origin(field.annotation) is not None else ()
    words = [code(choice) for choice in choices if isinstance(choice, str)]
    return f"{field.description} One of {', '.join(words)}." if words else str(field.description)


def _written(default: object) -> str:
    return (
        str(default).lower()
        if isinstance(default, bool)
        else f"{default:g}"
        if isinstance(default, float)
        else str(default)
    )


def all_routes() -> Table:
    """List every HTTP route."""
    rows = [["route", "what it does", "refuses with"]]
    for route in routes(None):
        refusals = ", ".join(str(status) for status in sorted(route.errors))
        rows.append([code(f"{route.method.upper()} {route.path}"), route.summary, refusals])
    return rows


def metrics() -> Table:
    """List every metric of ours."""
    ours = Metrics(CollectorRegistry())
    rows = [["metric", "kind", "labels", "meaning"]]
    for metric in vars(ours).values():
        if not hasattr(metric, "_labelnames"):
            continue
        family = next(iter(metric.collect()))
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = ", ".join(map(code, metric._labelnames))  # noqa: SLF001 - the library has no public way to ask
        rows.append([code(name), family.type, labels, family.documentation])
    return rows


def error_codes() -> Table:
    """List every error that a request can be answered with."""
    rows = [["code", "HTTP", "facade", "gRPC", "Retry-After", "meaning"]]
    for error in sorted(raised.answered(), key=lambda error: (int(error.http_status), error.slug)):
        facade = error.http_status if error.facade_status is None else error.facade_status
        wait = "" if error.retry_after_s is None else f"{error.retry_after_s} s"
        meaning = (error.__doc__ or "").splitlines()[0]
        status, code_of_rpc = str(int(error.http_status)), code(error.grpc_code)
        rows.append([code(error.slug), status, str(int(facade)), code_of_rpc, wait, meaning])
    return rows


def features(model: str) -> Table:
    """List what an example model takes."""
    rows = [["feature", "type", "unit", "must be", "example", "meaning"]]
    for feature in _config(model).features:
        example = code("true" if feature.example is True else "false" if feature.example is False else feature.example)
        rule = _rule(feature)
        rows.append([code(feature.name), feature.dtype, feature.unit, rule, example, feature.description])
    return rows


def _rule(feature: Feature) -> str:
    if feature.categories is not None:
        return ", ".join(f"{code(category)} ({index})" for index, category in enumerate(feature.categories))
    return feature.rule.removeprefix("must be ").replace(f" ({feature.unit})", "").replace("<=", "≤").replace(">=", "≥")


def tiers(model: str) -> Table:
    """List the bands of an example model's probability."""
    bands = _config(model).target.tiers
    highest = [*(band.at_least for band in bands[1:]), None]
    rows = [["tier", "probability"]]
    for band, end in zip(bands, highest, strict=True):
        rows.append([code(band.name), f"p ≥ {band.at_least:g}" + ("" if end is None else f" and p < {end:g}")])
    return rows


def probes() -> Table:
    """List the probes that the chart sets, as they are rendered into manifests/."""
    rows = [["probe", "asks", "every", "answer within", "acts after"]]
    for name, probe in chart_probes().items():
        seconds = [f"{probe[key]} s" for key in ("periodSeconds", "timeoutSeconds")]
        rows.append([name, code(f"GET {probe['httpGet']['path']}"), *seconds, f"{probe['failureThreshold']} failures"])
    return rows


def chart_probes() -> dict[str, dict[str, Any]]:
    """Read the probes of the server's container, the model's name written as NAME; they are those of both modes.

    Raises:
        ValueError: The modes have different probes, which one table cannot tell.
    """
    standard, knative = (_manifest_probes(ROOT / "manifests" / f"{mode}.yaml") for mode in ("standard", "knative"))
    if standard != knative:
        raise ValueError(f"the probes of the modes differ: {standard} and {knative}")
    return standard


def _manifest_probes(path: Path) -> dict[str, dict[str, Any]]:
    documents = yaml.safe_load_all(path.read_text("utf-8"))
    service = next(document for document in documents if document["kind"] == "InferenceService")
    (container,) = service["spec"]["predictor"]["containers"]
    model = next(arg.partition("=")[2] for arg in container["args"] if arg.startswith("--model_name="))
    found = {key.removesuffix("Probe"): probe for key, probe in container.items() if key.endswith("Probe")}
    for probe in found.values():
        probe["httpGet"]["path"] = probe["httpGet"]["path"].replace(f"/{model}/", "/NAME/")
    return found


def _config(model: str) -> configs.TrainConfig:
    return configs.load(ROOT / "training" / "configs" / f"{model}.yaml")


TABLES: dict[str, Callable[[], Table]] = {
    "routes": all_routes,
    "settings": settings,
    "metrics": metrics,
    "error codes": error_codes,
    "probes": probes,
    "churn features": lambda: features("churn"),
    "churn tiers": lambda: tiers("churn"),
}

_PLACE = re.compile(r"(<!-- table: ([a-z ]+) -->\n)((?:\|.*\n)*)")


def render(table: Table) -> str:
    """Write a table as Markdown."""
    lines = [" | ".join(cell.replace("|", "\\|") for cell in row) for row in table]
    rule = " | ".join("---" for _ in table[0])
    return "".join(f"| {line} |\n" for line in [lines[0], rule, *lines[1:]])


def placed(text: str) -> list[tuple[str, str]]:
    """Give the name and text of every such table of a page."""
    return [(match[2], match[3]) for match in _PLACE.finditer(text)]


def renewed(text: str) -> str:
    """Put the tables of a page right."""
    return _PLACE.sub(lambda match: match[1] + render(TABLES[match[2]]()), text)


if __name__ == "__main__":
    for name in PAGES:
        path = ROOT / name
        path.write_text(renewed(path.read_text("utf-8")), "utf-8")
