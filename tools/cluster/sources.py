"""What the cluster consists of: knows versions, binaries and image names; knows nothing of how images are made."""

from dataclasses import dataclass

from tools import gotools
from tools.cluster import archives
from tools.cluster.debian import Root

#: Images that are built here carry this name instead of a registry's: nothing would pull it.
REGISTRY = "kind.local"
#: kubeadm 1.34 asks for these tags; the binaries behind them are those of tools/go.
PAUSE = f"{REGISTRY}/pause:3.10.1"

#: The image our Dockerfile starts from, made here where no registry can be reached.
PYTHON = Root("python", ("python3", "python3-venv", "python3-pip", "ca-certificates"))
NODE = Root(
    "node",
    (
        *("ca-certificates", "conntrack", "containerd", "containernetworking-plugins", "ebtables", "ethtool"),
        *("iproute2", "iptables", "jq", "kmod", "mount", "nftables", "procps", "runc", "socat", "util-linux"),
    ),
)


#: What has no limit of memory collects garbage a quarter as often: the cluster is small and short-lived.
SELDOM = ("GOGC=400",)


@dataclass(frozen=True)
class Binary:
    """An image of one Go binary: the tool of tools/go, which of its binaries, and how it is started."""

    tool: str
    binary: str
    image: str
    tag: str
    entrypoint: tuple[str, ...] = ()
    user: str = ""
    environment: tuple[str, ...] = ()

    @property
    def reference(self) -> str:
        """The image's name in the cluster."""
        return f"{REGISTRY}/{self.image}:{self.tag}"

    @property
    def config(self) -> dict[str, object]:
        """How its container starts, in Docker's words."""
        variables = [f"PATH=/{archives.BINARIES}", *self.environment]
        return {"Entrypoint": list(self.entrypoint), "User": self.user, "Env": variables}


def control_plane() -> list[Binary]:
    """List the images without which no node comes up; they are put into the node's image."""
    kubernetes = gotools.version("kubernetes")
    names = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
    return [
        *(Binary("kubernetes", name, name, kubernetes, environment=SELDOM) for name in names),
        Binary("etcd", "etcd", "etcd", gotools.version("etcd"), environment=SELDOM),
        Binary("coredns", "coredns", "coredns", gotools.version("coredns"), ("/usr/local/bin/coredns",)),
        Binary("pause", "pause", "pause", "3.10.1", ("/usr/local/bin/pause",), user="65535"),
    ]


def kserve() -> list[Binary]:
    """List KServe's images."""
    number = gotools.version("kserve")
    return [Binary("kserve", "kserve", "kserve-controller", number, ("/usr/local/bin/kserve",), user="65532")]


def knative() -> list[Binary]:
    """List Knative Serving's images."""
    number = gotools.version("knative")
    return [
        Binary("knative", name, f"knative-{name}", number, (f"/usr/local/bin/{name}",), user="65532")
        for name in gotools.binaries("knative")
    ]


def parts() -> list[Binary]:
    """List all of them."""
    return [*control_plane(), *kserve(), *knative()]
