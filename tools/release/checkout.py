"""What would be released: knows the commit and the versions that the checkout names; knows no registry."""

import re
from pathlib import Path

from tools import gotools
from tools.cluster.server import version
from tools.programs import run
from tools.release.place import ReleaseError

CHART = gotools.ROOT / "charts" / "model-server"


def commit(folder: Path = gotools.ROOT) -> str:
    """Name the commit that is checked out.

    Args:
        folder: The checkout.

    Returns:
        All 40 digits.

    Raises:
        ReleaseError: Something is changed or new, so that no commit says what is here.
    """
    changed = run(["git", "-C", folder, "status", "--porcelain"]).splitlines()
    if changed:
        raise ReleaseError(
            f"{len(changed)} files differ from the commit; commit them, or release from a clean checkout"
        )
    return run(["git", "-C", folder, "rev-parse", "HEAD"]).strip()


def demand_version(wanted: str, folder: Path = gotools.ROOT) -> None:
    """Make sure that the code, the chart and the changelog all say that this is the version.

    Args:
        wanted: Three numbers.
        folder: The checkout.

    Raises:
        ReleaseError: One says something else; the text names them all.
    """
    chart = folder.joinpath("charts", "model-server", "Chart.yaml").read_text("utf-8")
    said = dict(re.findall(r'^(version|appVersion): "?([^"\n]+)"?$', chart, re.MULTILINE))
    headings = re.findall(r"^## v?(\d+\.\d+\.\d+)", folder.joinpath("CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    differs = {
        "model_server/__init__.py": version() != wanted,
        "version in charts/model-server/Chart.yaml": said.get("version") != wanted,
        "appVersion in charts/model-server/Chart.yaml": said.get("appVersion") != wanted,
        "the headings of CHANGELOG.md": wanted not in headings,
    }
    wrong = [place for place, is_wrong in differs.items() if is_wrong]
    if wrong:
        raise ReleaseError(f"{wanted} is not the version in {', '.join(wrong)}; change that on main, then tag it")
