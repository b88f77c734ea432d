"""What a workflow of this repository must be: knows the rules, and how to read a workflow's text; knows no tests.

A rule takes a workflow and gives what is wrong with it, so that broken texts can show that it sees something. What must
hold for workflows anywhere (pinned actions, tokens left behind, rights, events and words of strangers) is zizmor's.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sysconfig
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".github" / "workflows"
TARGETS = set(re.findall(r"^([a-z][a-z0-9-]*):(?!=)", ROOT.joinpath("Makefile").read_text("utf-8"), re.MULTILINE))

#: How `make workflows` calls zizmor: without any network, as the most suspicious reader it can be.
ZIZMOR = ("zizmor", "--offline", "--persona=auditor", "--strict-collection", "--no-progress", "--quiet")
#: Targets that need the right to publish.
PUBLISHING = {"release-login", "release-image", "release-version", "release-sign"}


@dataclass(frozen=True)
class Workflow:
    """A workflow as its text, for comments and lines, and as what the text means.

    Attributes:
        text: The file.
    """

    text: str

    @cached_property
    def content(self) -> dict[Any, Any]:
        """What the text means; YAML 1.1 reads the key `on` as true."""
        found: dict[Any, Any] = yaml.safe_load(self.text)
        return found

    @property
    def events(self) -> dict[str, Any]:
        """What starts it, each with its filters."""
        found = self.content[True]
        return {found: None} if isinstance(found, str) else dict.fromkeys(found) if isinstance(found, list) else found

    @property
    def jobs(self) -> dict[str, dict[str, Any]]:
        """Its jobs by name."""
        found: dict[str, dict[str, Any]] = self.content["jobs"]
        return found

    @property
    def steps(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Every step, with the name of its job."""
        for name, job in self.jobs.items():
            yield from ((name, step) for step in job.get("steps", []))

    def commands(self, job: str) -> list[list[str]]:
        """Give the command lines of a job, each as its words."""
        lines = [line for where, step in self.steps if where == job for line in step.get("run", "").splitlines()]
        return [words for line in lines if (words := shlex.split(line, comments=True))]

    def targets(self, job: str) -> set[str]:
        """Give the make targets that a job calls."""
        return {word for words in self.commands(job) if words[0] == "make" for word in words[1:]}


def rights_named_by_jobs(workflow: Workflow) -> list[str]:
    """Each job names its rights one by one, and none comes from above; zizmor lets rights to read stand there."""
    on_top = [] if workflow.content.get("permissions") == {} else ["permissions on top are not {}"]
    return on_top + [name for name, job in workflow.jobs.items() if not isinstance(job.get("permissions"), dict)]


def bounded_in_time(workflow: Workflow) -> list[str]:
    """A job that hangs ends within the hour, not after the six that are the default."""
    return [name for name, job in workflow.jobs.items() if not 0 < int(job.get("timeout-minutes", 0)) <= 60]


def one_at_a_time(workflow: Workflow) -> list[str]:
    """Runs of one branch do not pile up, and one that publishes is not cut off."""
    found = workflow.content.get("concurrency")
    if not isinstance(found, dict) or "${{" not in found.get("group", ""):
        return ["no concurrency group"]
    publishes = any(workflow.targets(job) & PUBLISHING for job in workflow.jobs)
    return [] if found.get("cancel-in-progress") is not publishes else ["cancel-in-progress is the wrong way round"]


def versions_beside_commits(workflow: Workflow) -> list[str]:
    """Beside the commit that zizmor demands stands the version, for people."""
    used = sum("uses" in step for _, step in workflow.steps) + sum("uses" in job for job in workflow.jobs.values())
    seen = re.findall(r"^[ -]*uses: \S+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", workflow.text, re.MULTILINE)
    return [] if len(seen) == used else [f"{len(seen)} of {used} actions have their version beside them"]


def only_make(workflow: Workflow) -> list[str]:
    """What runs here runs anywhere by the same words; and nothing of an event is ever part of a command."""
    words = [found for job in workflow.jobs for found in workflow.commands(job)]
    return [
        shlex.join(line)
        for line in words
        if line[0] != "make" or len(line) < 2 or not all(word in TARGETS for word in line[1:])
    ]


def no_shell_of_its_own(workflow: Workflow) -> list[str]:
    """A shell or a folder set beside a command would make it another one."""
    return [name for name, step in workflow.steps if "run" in step and ({"shell", "working-directory"} & step.keys())]


def nothing_latest(workflow: Workflow) -> list[str]:
    """Neither an image nor a runner is whatever is newest that day."""
    return re.findall(r".*\blatest\b.*", workflow.text)


def no_secret_for_strangers(workflow: Workflow) -> list[str]:
    """Where pull requests run there is nothing to steal and nothing to write to."""
    if not any(event.startswith("pull_request") for event in workflow.events):
        return []
    named = re.findall(r"secrets\.\w+|secrets: inherit|github\.token", workflow.text)
    rights = [
        f"{name}: {right}"
        for name, job in workflow.jobs.items()
        for right in _rights(job)
        if not right.endswith("read")
    ]
    return named + rights


def publishing_apart(workflow: Workflow) -> list[str]:
    """Only a push to the repository itself publishes, and only a job that publishes has the rights to."""
    wrong = []
    for name, job in workflow.jobs.items():
        publishes = bool(workflow.targets(name) & PUBLISHING)
        if publishes and workflow.events.keys() != {"push"}:
            wrong.append(f"{name}: publishes, but not on push alone")
        if not publishes and any(right.endswith("write") for right in _rights(job)):
            wrong.append(f"{name}: may write, but publishes nothing")
        if any(right.startswith("contents") and right.endswith("write") for right in _rights(job)):
            wrong.append(f"{name}: may change the repository")
        if publishes and "fork" not in str(workflow.jobs[_first(workflow, name)].get("if", "")):
            wrong.append(f"{name}: publishes from forks too")
    return wrong


def asked_before_published(workflow: Workflow) -> list[str]:
    """The image was tested, built and asked in jobs that had to pass before the one that publishes it."""
    wrong = []
    for name in workflow.jobs:
        if "release-image" in workflow.targets(name):
            before = {target for job in _before(workflow, name) for target in workflow.targets(job)}
            wrong += [
                f"{name}: not after make {word}" for word in ("test", "image", "image-smoke") if word not in before
            ]
            wrong += [f"{name}: builds it again" for word in ("image",) if word in workflow.targets(name)]
    return wrong


def checked_before_published(workflow: Workflow) -> list[str]:
    """A tag that is taken is refused first, and what gets a version was signed; what is published is signed after."""
    wrong = []
    for name in workflow.jobs:
        order = [word for words in workflow.commands(name) for word in words[1:]]
        for published, before in (
            ("release-image", ["release-check"]),
            ("release-version", ["release-check", "release-verify"]),
        ):
            if published in order:
                place = order.index(published)
                wrong += [f"{name}: {word} is not before {published}" for word in before if word not in order[:place]]
                wrong += [] if "release-sign" in order[place:] else [f"{name}: {published} is not signed"]
    return wrong


def python_is_the_one_set_up(workflow: Workflow) -> list[str]:
    """Make takes the newest Python of a machine unless it is told which."""
    wrong = []
    for name, step in workflow.steps:
        if step.get("uses", "").startswith("actions/setup-python@"):
            told = {**workflow.content.get("env", {}), **workflow.jobs[name].get("env", {})}.get("PYTHON")
            wrong += [] if told == f"python{step['with']['python-version']}" else [name]
    return wrong


def _rights(job: dict[str, Any]) -> list[str]:
    found = job.get("permissions", {})
    # `read-all` and `write-all` are one word for every right.
    named = found if isinstance(found, dict) else {"all": str(found).removesuffix("-all")}
    return [f"{name} {right}" for name, right in named.items()]


def _needs(job: dict[str, Any]) -> list[str]:
    found = job.get("needs", [])
    return [found] if isinstance(found, str) else list(found)


def _before(workflow: Workflow, name: str) -> set[str]:
    direct = _needs(workflow.jobs[name])
    return set(direct).union(*(_before(workflow, job) for job in direct))


def _first(workflow: Workflow, name: str) -> str:
    # A job whose need was skipped is skipped too, so what the first one of a chain asks holds for all.
    needs = _needs(workflow.jobs[name])
    return _first(workflow, needs[0]) if needs else name


RULES: tuple[Callable[[Workflow], list[str]], ...] = (
    rights_named_by_jobs,
    bounded_in_time,
    one_at_a_time,
    versions_beside_commits,
    only_make,
    no_shell_of_its_own,
    nothing_latest,
    no_secret_for_strangers,
    publishing_apart,
    asked_before_published,
    checked_before_published,
    python_is_the_one_set_up,
)


def audits(file: Path) -> set[str]:
    """Name what zizmor finds in a file; it must also say so by its exit code, which is all that make looks at."""
    program, *options = ZIZMOR
    command = [str(Path(sysconfig.get_path("scripts"), program)), *options, "--format=json", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = {one["ident"] for one in json.loads(done.stdout)}
    assert (done.returncode != 0) is bool(found), done.stderr
    return found


def broken(text: str) -> set[str]:
    """Name the rules that a workflow's text breaks."""
    workflow = Workflow(text)
    return {rule.__name__ for rule in RULES if rule(workflow)}
