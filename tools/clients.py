"""kubectl, Helm and crane: knows where they are; knows nothing of what is asked of them."""

import shutil
from functools import cache

from tools import gotools
from tools.programs import output, run


@cache
def kubectl() -> str:
    """Find kubectl: the machine's, else the one that is built here."""
    return shutil.which("kubectl") or str(gotools.build("kubernetes", "kubectl"))


@cache
def helm() -> str:
    """Find Helm, always the version that the chart is tested with."""
    return str(gotools.build("helm4"))


@cache
def crane() -> str:
    """Find crane, always the version whose words the release reads."""
    return str(gotools.build("crane"))


def ask_kubectl(*words: str, given: bytes | None = None, timeout_s: float = 120.0) -> str:
    """Run kubectl and give what it printed."""
    return run([kubectl(), *words], given=given, timeout_s=timeout_s)


def ask_helm(*words: str, timeout_s: float = 300.0) -> str:
    """Run Helm and give what it printed."""
    return run([helm(), *words], timeout_s=timeout_s)


def ask_crane(*words: str, timeout_s: float = 120.0) -> bytes:
    """Run crane and give what it printed, byte for byte: a digest is of those."""
    return output([crane(), *words], timeout_s=timeout_s)
