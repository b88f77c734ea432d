"""The commands of a deployment: knows the order of steps, and settings from flags; each step is a module beside it."""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

from tools import gotools
from tools.cluster import server
from tools.deploy import bundles, ingress, smoke
from tools.deploy.rollout import readiness, traffic
from tools.deploy.rollout.address import reachable
from tools.deploy.rollout.release import Release
from tools.errors import ClusterError
from tools.programs import ProgramError


def main() -> int:
    """Run one command against the cluster that the kubeconfig names."""
    parser = argparse.ArgumentParser(prog="python -m tools.deploy", description=__doc__)
    parser.add_argument("command", choices=tuple(COMMANDS))
    parser.add_argument("--model", default="churn", help="bundle's name; the release has the same")
    parser.add_argument("--version", help="bundle's version; left out, the one in production")
    parser.add_argument("--registry", type=Path, default=Path("artifacts"))
    parser.add_argument("--namespace", default="models")
    parser.add_argument("--mode", choices=("standard", "knative"), default="standard")
    parser.add_argument("--image", default=server.image(), help="repository:tag that the cluster has or can pull")
    parser.add_argument("--percent", type=int, help="share of the requests for the newest revision")
    parser.add_argument("--timeout-s", type=float, default=180.0, help="how long a release may take to be ready")
    given = parser.parse_args()
    try:
        COMMANDS[given.command](given)
    except (ClusterError, ProgramError, gotools.ToolsError) as error:
        print(f"{given.command}: {error}", file=sys.stderr)
        return 1
    return 0


def bundle(given: argparse.Namespace) -> Path:
    """Find the bundle that is meant."""
    folder: Path = given.registry / given.model
    if not folder.is_dir():
        raise ClusterError(f"there is no bundle in {folder}; `make train MODEL={given.model}` makes one")
    return folder / (given.version or folder.joinpath("production").read_text("utf-8").strip())


def release(given: argparse.Namespace) -> Release:
    """Describe the release that is meant."""
    return Release(given.model, given.namespace, given.model, given.mode, given.image)


def deploy(given: argparse.Namespace) -> None:
    """Bring the bundle to the claim, install or upgrade the chart, wait, and ask."""
    found = bundle(given)
    bundles.make_namespace(given.namespace)
    bundles.fill(given.namespace, [found], given.image)
    release(given).upgrade(release(given).values(found.name))
    readiness.wait(given.model, given.namespace, timeout_s=given.timeout_s)
    print(f"deploy: {given.model} {found.name} is ready in {given.namespace}, {given.mode} mode")
    ask(given)


def ask(given: argparse.Namespace) -> None:
    """Run the smoke test."""
    with reachable(given.model, given.namespace, ingress.address) as address:
        print("\n".join(smoke.run_smoke(address, bundle(given))))


def canary(given: argparse.Namespace) -> None:
    """Give the newest revision a share; a version that is not yet served becomes that revision."""
    percent = traffic.percentage(given.percent)
    if given.version:
        bundles.fill(given.namespace, [bundle(given)], given.image)
    tell(given, traffic.canary(release(given), percent, given.version, timeout_s=given.timeout_s))


def promote(given: argparse.Namespace) -> None:
    """Give the newest revision everything."""
    tell(given, traffic.promote(release(given), timeout_s=given.timeout_s))


def rollback(given: argparse.Namespace) -> None:
    """Give the revision before everything; the newest one stays, with nothing."""
    tell(given, traffic.rollback(release(given), timeout_s=given.timeout_s))


def tell(given: argparse.Namespace, shares: Iterable[traffic.Share]) -> None:
    """Say who gets what."""
    for share in shares:
        print(f"{given.command}: {share.percent:3} % {share.revision}")


COMMANDS = {"deploy": deploy, "smoke": ask, "canary": canary, "promote": promote, "rollback": rollback}

if __name__ == "__main__":
    sys.exit(main())
