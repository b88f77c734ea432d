"""Names inside the cluster: knows how to let CoreDNS answer for the cluster alone; knows nothing of any outside."""

from tools import objects
from tools.errors import ClusterError

NAMESPACE = "kube-system"
#: Plug-ins that ask a resolver behind CoreDNS; without one it does not start.
OUTWARD = ("forward", "loop")


def detach() -> None:
    """Take every resolver outside out of CoreDNS's configuration, and start it with that.

    Raises:
        ClusterError: The cluster has no CoreDNS, or it does not start.
    """
    found = objects.get("v1", "ConfigMap", "coredns", NAMESPACE)
    if found is None:
        raise ClusterError(f"the cluster has no ConfigMap coredns in {NAMESPACE}")
    kept = without_outside(found["data"]["Corefile"])
    if kept == found["data"]["Corefile"]:
        return
    metadata = {"name": "coredns", "namespace": NAMESPACE}
    objects.apply([{"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"Corefile": kept}}])
    objects.restart("coredns", NAMESPACE)
    objects.wait_for_deployments(NAMESPACE)


def without_outside(corefile: str) -> str:
    """Leave out the plug-ins that ask outside, each with its block."""
    kept, depth = [], 0
    for line in corefile.splitlines():
        words = line.split()
        if depth or (words and words[0] in OUTWARD):
            depth += line.rstrip().endswith("{") - (words == ["}"])
        else:
            kept.append(line)
    return "\n".join(kept) + "\n"
