"""The chart as a release: knows the values of each mode and step; knows nothing of how a server is asked."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools import gotools
from tools.clients import ask_helm

CHART = gotools.ROOT / "charts" / "model-server"
#: The volume claim that bundles are served from.
CLAIM = "models"
#: Small enough for several pods on a laptop; the chart's own values are for a real node.
SMALL = {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}}


@dataclass(frozen=True)
class Release:
    """A release of the chart.

    Attributes:
        name: The release and the InferenceService.
        namespace: Where it is.
        model: The bundle's name.
        mode: standard or knative.
        image: The server's image, as repository:tag.
    """

    name: str
    namespace: str
    model: str
    mode: str
    image: str

    def values(self, version: str, **further: Any) -> dict[str, Any]:
        """Give the values that serve a version of the bundle from the claim.

        Args:
            version: The bundle's version.
            further: Values of the top level; maps are merged into these, one level deep.

        Returns:
            Values of the chart.
        """
        repository, _, tag = self.image.rpartition(":")
        found: dict[str, Any] = {
            "mode": self.mode,
            "image": {"repository": repository, "tag": tag},
            "model": {
                "name": self.model,
                "version": version,
                "storageUri": f"pvc://{CLAIM}/{self.model}/{version}",
            },
            "resources": SMALL,
        }
        for key, value in further.items():
            found[key] = found.get(key, {}) | value if isinstance(value, dict) else value
        return found

    def upgrade(self, values: Mapping[str, Any], words: Sequence[str] = ()) -> str:
        """Install the release, or upgrade it: these values and the chart's own, nothing of before.

        Raises:
            ProgramError: Helm refuses, with its words.
        """
        with tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch, "values.json")
            file.write_text(json.dumps(values), "utf-8")
            return ask_helm(
                *("upgrade", "--install", self.name, str(CHART), "-n", self.namespace, "-f", str(file)), *words
            )

    def change(self, values: Mapping[str, Any]) -> str:
        """Upgrade the release by some values, and keep those that it has.

        Raises:
            ProgramError: There is no such release, or Helm refuses.
        """
        with tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch, "values.json")
            file.write_text(json.dumps(values), "utf-8")
            where = ("-n", self.namespace, "-f", str(file))
            return ask_helm("upgrade", self.name, str(CHART), "--reset-then-reuse-values", *where)

    def test(self) -> str:
        """Run `helm test` and give what it printed."""
        return ask_helm("test", self.name, "-n", self.namespace, "--logs")

    def uninstall(self) -> None:
        """Take the release off the cluster."""
        ask_helm("uninstall", self.name, "-n", self.namespace, "--ignore-not-found", "--wait")
