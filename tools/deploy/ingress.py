"""The ingress that is asked in Knative mode: knows where it is; knows nothing of what stands behind it."""

import os

from tools.cluster import kind


def address() -> str:
    """Give the address of the cluster's ingress: INGRESS, else the one of the cluster that is made here."""
    return os.environ.get("INGRESS") or f"http://{kind.address()}:{kind.INGRESS_PORT}"
