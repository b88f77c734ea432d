"""What is written from the chart: the folder manifests/, for people who use kubectl and not Helm, and its README.

Each file of the chart's ci folder gives one manifest. The percentages of a canary are fragments that hold one field, so
that whoever applies one owns that field and nothing else; for Standard mode, whose canaries are a list, they are JSON
patches that first make sure of the entry they change.
"""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from tools import gotools

ROOT = Path(__file__).resolve().parent.parent
CHART = ROOT / "charts" / "model-server"
FOLDER = ROOT / "manifests"
RELEASE, NAMESPACE = "churn", "models"
HELM = "helm4"

#: Steps of a canary by name, in percent; None hands the field back.
STEPS: Mapping[str, int | None] = {"1": 1, "5": 5, "10": 10, "50": 50, "promote": 100, "rollback": 0, "release": None}
_HEADER = "# Rendered from charts/model-server by `make manifests`; not edited by hand.\n"


def render(values: Path, *options: str, helm: str = HELM) -> str:
    """Render the chart without a cluster.

    Args:
        values: A values file.
        options: Further options of `helm template`.
        helm: Which Helm, a name of tools/go.

    Returns:
        YAML documents.
    """
    command = [str(gotools.build(helm)), "template", RELEASE, str(CHART), "-n", NAMESPACE, "-f", str(values), *options]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def service(text: str) -> dict[str, Any]:
    """Pick the InferenceService out of YAML documents."""
    documents: list[dict[str, Any]] = [document for document in yaml.safe_load_all(text) if document]
    return next(document for document in documents if document["kind"] == "InferenceService")


def fragment(percent: int | None) -> str:
    """Write a server-side apply of the percentage alone, as the chart renders it; good as a merge patch, too."""
    options = ("--set", f"canary.trafficPercent={'null' if percent is None else percent}")
    whole = service(render(CHART / "ci" / "knative.yaml", *options))
    predictor = whole["spec"]["predictor"]
    field = {key: predictor[key] for key in ("canaryTrafficPercent",) if key in predictor}
    part = {key: whole[key] for key in ("apiVersion", "kind")}
    part["metadata"] = {key: whole["metadata"][key] for key in ("name", "namespace")}
    return yaml.safe_dump(part | {"spec": {"predictor": field}}, sort_keys=False)


def json_patch(percent: int | None) -> str:
    """Write a JSON patch of Standard mode's canary: its percentage, or its end.

    Args:
        percent: 1 to 99 sets it; 0 takes the canary away; 100 gives its container to the stable predictor first.

    Returns:
        The patch.
    """
    canary = service(render(CHART / "ci" / "standard-canary.yaml"))["spec"]["canary"][0]
    name = canary["predictor"]["name"]
    patch: list[dict[str, Any]] = [{"op": "test", "path": "/spec/canary/0/predictor/name", "value": name}]
    if percent in (0, 100):
        if percent:
            container = canary["predictor"]["containers"][0]
            patch.append({"op": "replace", "path": "/spec/predictor/containers/0", "value": container})
        patch.append({"op": "remove", "path": "/spec/canary"})
    else:
        patch.append({"op": "replace", "path": "/spec/canary/0/trafficPercent", "value": percent})
    return json.dumps(patch, indent=2) + "\n"


def files() -> dict[str, str]:
    """Give every file of the folder by its path in it."""
    found = {path.name: _HEADER + render(path, "--skip-tests") for path in sorted(CHART.joinpath("ci").glob("*.yaml"))}
    for step, percent in STEPS.items():
        found[f"canary/knative/{step}.yaml"] = _HEADER + fragment(percent)
        if percent is not None:
            found[f"canary/standard/{step}.json"] = json_patch(percent)
    return found


def document(charts: Path) -> None:
    """Write each chart's README from its README.md.gotmpl and the comments of its values.yaml.

    Args:
        charts: The folder that holds the charts.
    """
    options = (f"--chart-search-root={charts}", "--sort-values-order=file", "--log-level=warning")
    subprocess.run([str(gotools.build("helm-docs")), *options], check=True)


def main() -> None:
    """Write the folder anew, without what is no longer rendered, and the README."""
    document(CHART.parent)
    wanted = files()
    for path in FOLDER.rglob("*"):
        if path.is_file() and str(path.relative_to(FOLDER)) not in wanted:
            path.unlink()
    for name, text in wanted.items():
        path = FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
