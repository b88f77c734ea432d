"""The workflows: each keeps every rule, and each rule notices a workflow that is broken in the one place it is for."""

from __future__ import annotations

import re
import shlex
import subprocess
import tomllib
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.workflows import FOLDER, ROOT, RULES, ZIZMOR, Workflow, audits, broken

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = {path.stem: path.read_text("utf-8") for path in sorted(FOLDER.glob("*.y*ml"))}
CHECKOUT = "actions/checkout@08c6903cd8c0fde910a37f88322edcfb5dd907a8 # v5.0.0"

#: The rule that must notice, the workflow, what is replaced in it (everywhere), and by what.
BREAKS = [
    ("rights_named_by_jobs", "e2e", "permissions: {}\n", "permissions:\n  contents: read\n"),
    ("rights_named_by_jobs", "ci", "    permissions:\n      contents: read\n", ""),
    ("rights_named_by_jobs", "chart", "    permissions:\n      contents: read\n", "    permissions: read-all\n"),
    ("bounded_in_time", "e2e", "    timeout-minutes: 60\n", ""),
    ("bounded_in_time", "e2e", "timeout-minutes: 60", "timeout-minutes: 360"),
    ("one_at_a_time", "chart", "concurrency:\n  group: chart-${{ github.ref }}\n  cancel-in-progress: true\n", ""),
    ("one_at_a_time", "chart", "group: chart-${{ github.ref }}", "group: chart"),
    ("one_at_a_time", "release", "cancel-in-progress: false", "cancel-in-progress: true"),
    ("versions_beside_commits", "ci", CHECKOUT, CHECKOUT.partition(" ")[0]),
    ("versions_beside_commits", "ci", CHECKOUT, CHECKOUT.replace("v5.0.0", "v5")),
    ("versions_beside_commits", "chart", f"- uses: {CHECKOUT}\n", f'- "uses": {CHECKOUT}\n'),
    ("only_make", "chart", "- run: make chart", "- run: make chart && make fuzz"),
    ("only_make", "chart", "- run: make chart", "- run: helm lint charts/model-server"),
    ("only_make", "chart", "- run: make chart", "- run: make no-such-target"),
    ("only_make", "chart", "- run: make chart", "- run: make chart SHELL=/tmp/sh"),
    ("only_make", "chart", "- run: make chart", "- run: make ${{ github.head_ref }}"),
    ("only_make", "chart", "- run: make chart", "- run: |\n          make chart\n          curl https://example.org"),
    ("no_shell_of_its_own", "chart", "- run: make chart", "- run: make chart\n        shell: python"),
    ("no_shell_of_its_own", "chart", "- run: make chart", "- run: make chart\n        working-directory: /"),
    ("nothing_latest", "chart", "ubuntu-24.04", "ubuntu-latest"),
    ("nothing_latest", "release", "PUBLISH: ", "ALSO: latest\n  PUBLISH: "),
    ("no_secret_for_strangers", "ci", "      PYTHON: ", "      KEY: ${{ secrets.KEY }}\n      PYTHON: "),
    ("no_secret_for_strangers", "ci", "      PYTHON: ", "      KEY: ${{ github.token }}\n      PYTHON: "),
    ("python_is_the_one_set_up", "chart", "      PYTHON: python3.13\n", "      OTHER: python3.13\n"),
    ("python_is_the_one_set_up", "release", "  PYTHON: python3.11\n", "  PYTHON: python3.12\n"),
    ("publishing_apart", "release", " && !github.event.repository.fork", ""),
    ("publishing_apart", "release", "      contents: read\n      packages", "      contents: write\n      packages"),
    ("asked_before_published", "release", "      - run: make image-smoke\n", "      - run: make smoke\n"),
    ("asked_before_published", "release", "      - run: make image-load\n", "      - run: make image\n"),
    ("checked_before_published", "release", "      - run: make release-check\n", ""),
    ("checked_before_published", "release", "      - run: make release-verify\n", ""),
    ("checked_before_published", "release", "      - run: make release-sign\n", ""),
]
#: Breaks that are against several rules at once.
WORSE = [
    (
        {"no_secret_for_strangers", "publishing_apart"},
        "release",
        "  push:\n",
        "  pull_request_target:\n",
    ),
    ({"no_secret_for_strangers", "publishing_apart"}, "release", "  push:\n", "  pull_request:\n  push:\n"),
    ({"asked_before_published", "publishing_apart"}, "release", "    needs: test\n", ""),
    ({"publishing_apart"}, "release", "  push:\n", "  workflow_dispatch:\n  push:\n"),
    ({"publishing_apart"}, "release", "  push:\n", "  workflow_run:\n  push:\n"),
    (
        {"no_secret_for_strangers", "publishing_apart"},
        "ci",
        "contents: read\n",
        "contents: read\n      packages: write\n",
    ),
    ({"no_secret_for_strangers", "publishing_apart"}, "ci", "contents: read\n", "contents: write\n"),
    (
        {"no_secret_for_strangers", "publishing_apart", "rights_named_by_jobs"},
        "ci",
        "permissions:\n      contents: read\n",
        "permissions: write-all\n",
    ),
]
#: The audit of zizmor that must notice, the workflow, what is replaced in it, and by what.
AUDITED = [
    ("unpinned-uses", "ci", CHECKOUT, "actions/checkout@v5"),
    ("unpinned-uses", "ci", CHECKOUT, CHECKOUT.replace("08c6903", "")),
    ("self-repository", "ci", CHECKOUT, "./.github/actions/checkout # v5.0.0"),
    ("unpinned-images", "chart", "    runs-on: ", "    container: python:3.11\n    runs-on: "),
    ("excessive-permissions", "ci", "permissions: {}\n", ""),
    ("excessive-permissions", "ci", "permissions: {}\n", "permissions: read-all\n"),
    ("excessive-permissions", "ci", "permissions: {}\n", "permissions:\n  contents: write\n"),
    ("excessive-permissions", "chart", "    permissions:\n      contents: read\n", "    permissions: write-all\n"),
    ("undocumented-permissions", "release", "packages: write # push\n", "packages: write\n"),
    ("artipacked", "ci", "persist-credentials: false", "persist-credentials: true"),
    ("artipacked", "ci", "persist-credentials: false", "fetch-depth: 1"),
    ("dangerous-triggers", "release", "  push:\n", "  pull_request_target:\n"),
    ("dangerous-triggers", "release", "  push:\n", "  workflow_run:\n  push:\n"),
    ("dangerous-triggers", "chart", "  pull_request:\n", "  issue_comment:\n  pull_request:\n"),
    ("template-injection", "chart", "- run: make chart", "- run: make ${{ github.head_ref }}"),
    ("cache-poisoning", "release", " # zizmor: ignore[cache-poisoning]", ""),
]


def changed(name: str, old: str, new: str) -> str:
    """Break a workflow's text; what is replaced must be there."""
    assert old in TEXTS[name], f"{name}.yml has no {old!r} any more; the break must follow it"
    return TEXTS[name].replace(old, new)


def uses() -> set[str]:
    """Every action with its commit and version, over all workflows."""
    return {found for text in TEXTS.values() for found in re.findall(r"uses: (\S+ # \S+)", text)}


def test_every_workflow_is_here() -> None:
    """The rules below hold for all of them, so none may be missing."""
    assert TEXTS.keys() == {"chart", "ci", "e2e", "mutations", "release"}


def test_every_place_of_the_chart_is_broken_by_the_clock() -> None:
    """A check that nobody starts finds nothing: the whole of it runs by itself, and not a share."""
    workflow = Workflow(TEXTS["mutations"])

    assert "schedule" in workflow.events
    assert [workflow.commands(job) for job in workflow.jobs] == [[["make", "chart-mutate"]]]
    assert "EVERY" not in workflow.text


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("name", TEXTS)
def test_a_workflow_keeps_the_rule(name: str, rule: object) -> None:
    """The list says what is wrong and where."""
    assert callable(rule)
    assert rule(Workflow(TEXTS[name])) == []


@pytest.mark.parametrize(("rule", "name", "old", "new"), BREAKS)
def test_a_rule_notices_what_is_broken(rule: str, name: str, old: str, new: str) -> None:
    """Each break is against one rule, and that rule alone sees it."""
    assert broken(changed(name, old, new)) == {rule}


@pytest.mark.parametrize(("rules", "name", "old", "new"), WORSE)
def test_rules_notice_what_breaks_several(rules: set[str], name: str, old: str, new: str) -> None:
    """A pull request that could publish is wrong in more than one way."""
    assert broken(changed(name, old, new)) == rules


def test_every_rule_is_shown_to_notice_something() -> None:
    """A rule that nothing can break would be no rule."""
    shown = {rule for rule, *_ in BREAKS} | {rule for rules, *_ in WORSE for rule in rules}

    assert shown == {rule.__name__ for rule in RULES}


def test_zizmor_has_nothing_to_say() -> None:
    """Of the workflows, and of what asks for new versions of their actions."""
    assert audits(FOLDER.parent) == set()


@pytest.mark.parametrize(("audit", "name", "old", "new"), AUDITED)
def test_zizmor_notices_what_is_broken(tmp_path: Path, audit: str, name: str, old: str, new: str) -> None:
    """These are rules for workflows anywhere, so that none of them is written here."""
    file = tmp_path / f"{name}.yml"
    file.write_text(changed(name, old, new), "utf-8")

    assert audit in audits(file)


def test_make_calls_zizmor_as_it_is_called_here() -> None:
    """A less suspicious zizmor would not see all that is shown above."""
    done = subprocess.run(["make", "-n", "workflows"], cwd=ROOT, capture_output=True, text=True, check=True)

    assert f"/{shlex.join(ZIZMOR)} .github\n" in done.stdout


def test_an_action_is_the_same_commit_everywhere() -> None:
    """Two commits of one action mean that one was forgotten."""
    names = [found.partition("@")[0] for found in uses()]

    assert len(names) == len(set(names))


def test_only_one_action_is_neither_ours_nor_of_the_host() -> None:
    """Each further one is somebody else's code with the rights of the job."""
    owners = {found.partition("/")[0] for found in uses()}

    assert owners == {"actions", "sigstore"}


def test_new_versions_of_actions_are_asked_for() -> None:
    """A pin without anybody who looks at it grows old."""
    found = yaml.safe_load(ROOT.joinpath(".github", "dependabot.yml").read_text("utf-8"))

    assert [each["package-ecosystem"] for each in found["updates"]] == ["github-actions"]


def test_ci_runs_every_supported_python() -> None:
    """What requires-python promises is what CI tries."""
    project = tomllib.loads(ROOT.joinpath("pyproject.toml").read_text("utf-8"))["project"]
    wanted = {line.rpartition(" ")[2] for line in project["classifiers"] if "Python :: 3." in line}

    assert set(Workflow(TEXTS["ci"]).jobs["test"]["strategy"]["matrix"]["python"]) == wanted


def test_each_mode_has_a_cluster_and_every_file_of_tests_a_job() -> None:
    """The words choose files by name; a file that neither chooses would never run."""
    job = Workflow(TEXTS["e2e"]).jobs["cluster"]
    words = {each["mode"]: each["tests"] for each in job["strategy"]["matrix"]["include"]}

    assert words == {"standard": "not knative", "knative": "knative"}
    assert job["env"]["E2E_WORDS"].startswith('-k "${{ matrix.tests }}"')
    assert ROOT.joinpath("tests", "e2e", "knative").is_dir()


def test_the_report_is_kept_always_and_the_logs_when_it_fails() -> None:
    """What a failed run leaves is all that anybody can look at afterwards."""
    steps = Workflow(TEXTS["e2e"]).jobs["cluster"]["steps"]
    kept = {step["if"]: step["with"]["path"] for step in steps if "upload-artifact" in step.get("uses", "")}
    conftest = ROOT.joinpath("tests", "e2e", "conftest.py").read_text("utf-8")

    assert kept == {"always()": "build/e2e.xml", "failure()": "build/e2e"}
    assert 'os.environ.get("E2E_REPORT", "build/e2e")' in conftest


def test_the_caches_hold_what_make_builds() -> None:
    """The same folder, and another name as soon as one pinned version changes."""
    for name in ("ci", "chart", "e2e", "release"):
        caches = [step["with"] for _, step in Workflow(TEXTS[name]).steps if "actions/cache@" in step.get("uses", "")]

        assert {each["path"] for each in caches} == {"~/.cache/model-server"}
        assert all("hashFiles('tools/go/**', 'locks/go.txt', 'tools/gotools.py')" in each["key"] for each in caches)


def test_a_release_says_what_it_published() -> None:
    """Digests are outputs of its jobs and files."""
    jobs = Workflow(TEXTS["release"]).jobs

    assert jobs["image"]["outputs"]["digest"] == "${{ steps.publish.outputs.image-digest }}"
    assert jobs["version"]["outputs"].keys() == {"image", "chart"}
    for name in ("image", "version"):
        kept = [step["with"]["path"] for step in jobs[name]["steps"] if "upload-artifact" in step.get("uses", "")]
        assert ["build/release/*.json" in path for path in kept] == [True]


@pytest.mark.parametrize(("job", "kind"), [("image", "image"), ("version", "chart")])
def test_what_is_published_gets_its_provenance(job: str, kind: str) -> None:
    """Of the digest that was published, never of a tag."""
    steps = Workflow(TEXTS["release"]).jobs[job]["steps"]
    attested = [step["with"] for step in steps if "attest-build-provenance" in step.get("uses", "")]

    assert attested == [
        {
            "subject-name": f"${{{{ steps.publish.outputs.{kind}-name }}}}",
            "subject-digest": f"${{{{ steps.publish.outputs.{kind}-digest }}}}",
            "push-to-registry": True,
        }
    ]


def test_nothing_deploys() -> None:
    """Publishing and deploying are two decisions, taken by different people at different times."""
    called = {
        target for text in TEXTS.values() for job in Workflow(text).jobs for target in Workflow(text).targets(job)
    }

    assert not called & {"deploy", "canary", "promote", "rollback"}
