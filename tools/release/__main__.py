"""The commands of a release: knows the order of steps and the variables they read; each step is a module beside it.

Variables: PUBLISH (a registry's host and an owner), TAG (the version's tag of git), SIGNER (the workflow that signed),
REGISTRY_USER and REGISTRY_TOKEN (for `login`). Nothing here deploys, and nothing is ever overwritten.
"""

import argparse
import os
import sys
from collections.abc import Mapping

from tools import gotools
from tools.cluster import server
from tools.programs import ProgramError, run
from tools.release import chart, checkout, image, record, signing
from tools.release.place import ReleaseError, commit_tag, repository, version_of
from tools.release.registry import Registry

Environment = Mapping[str, str]


def main() -> int:
    """Run one command."""
    parser = argparse.ArgumentParser(prog="python -m tools.release", description=__doc__)
    parser.add_argument("command", choices=tuple(COMMANDS))
    command: str = parser.parse_args().command
    try:
        COMMANDS[command](os.environ)
    except (ReleaseError, ProgramError, gotools.ToolsError) as error:
        print(f"release: {error}", file=sys.stderr)
        return 1
    return 0


def variable(environment: Environment, name: str, example: str) -> str:
    """Read a variable that must be set.

    Raises:
        ReleaseError: It is not.
    """
    found = environment.get(name, "")
    if not found:
        raise ReleaseError(f"{name} is not set; give it, such as {name}={example}")
    return found


def registry(environment: Environment, name: str) -> Registry:
    """Open a repository of the registry that PUBLISH names."""
    return Registry(repository(variable(environment, "PUBLISH", "registry.example/acme"), name))


def images(environment: Environment) -> Registry:
    """Open the repository of the image."""
    return registry(environment, "model-server")


def charts(environment: Environment) -> Registry:
    """Open the repository of the chart."""
    return registry(environment, f"charts/{checkout.CHART.name}")


def log_in(environment: Environment) -> None:
    """Log Docker in at the registry; Helm, crane and cosign read the same configuration."""
    host = images(environment).repository.host
    user = variable(environment, "REGISTRY_USER", "name")
    token = variable(environment, "REGISTRY_TOKEN", "(from a secret)").encode()
    run(["docker", "login", host, "--username", user, "--password-stdin"], given=token)


def check(environment: Environment) -> None:
    """Say whether this commit, and with TAG this version of it, can be published; change nothing."""
    commit = checkout.commit()
    if environment.get("TAG"):
        _demand_version(environment, commit)
        print(f"release: {environment['TAG']} of {commit} can be published")
        return
    images(environment).demand_free(commit_tag(commit))
    print(f"release: the image of {commit} can be published")


def publish_image(environment: Environment) -> None:
    """Publish the image that was built and asked here, under its commit's tag."""
    record.forget()
    record.write(image.publish(images(environment), checkout.commit(), server.image()), environment=environment)


def verify_image(environment: Environment) -> None:
    """Make sure that the image of this commit was signed by the workflow that publishes images."""
    found = images(environment)
    manifest = found.demand(commit_tag(checkout.commit()))
    example = "https://github.com/OWNER/NAME/.github/workflows/release.yml@refs/heads/main"
    signing.verify(f"{found.repository}@{manifest.digest}", variable(environment, "SIGNER", example))


def publish_version(environment: Environment) -> None:
    """Give the image of this commit its version, and publish the chart that deploys its digest."""
    record.forget()
    commit = checkout.commit()
    version = _demand_version(environment, commit)
    found = images(environment)
    source = found.demand(commit_tag(commit))
    pinned = record.Record("image", str(found.repository), commit_tag(commit), source.digest, commit)
    packaged = chart.package(pinned, version, record.FOLDER)
    record.write(chart.publish(charts(environment), packaged, version, commit), environment=environment)
    record.write(image.promote(found, commit, version), environment=environment)


def _demand_version(environment: Environment, commit: str) -> str:
    # Everything that can be refused is refused before the first change.
    version = version_of(variable(environment, "TAG", "v1.2.3"))
    checkout.demand_version(version)
    images(environment).demand(commit_tag(commit))
    images(environment).demand_free(f"v{version}")
    charts(environment).demand_free(version)
    return version


def sign(_: Environment) -> None:
    """Sign what was published last."""
    signing.sign([each.reference for each in record.read()])


COMMANDS = {
    "login": log_in,
    "check": check,
    "image": publish_image,
    "verify": verify_image,
    "version": publish_version,
    "sign": sign,
}

if __name__ == "__main__":
    sys.exit(main())
