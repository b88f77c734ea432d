"""The command line of training; the only place that reads arguments, the clock and the user, and that prints."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from model_server import bundle
from model_server.errors import ModelServerError
from model_server.manifest import Serving
from training import adopt, artifacts, provenance, two_files
from training import contract_draft as inference
from training import display as page
from training import run as commands
from training.artifacts import Artifacts
from training.errors import BadArtifact, TrainingError
from training.registry import Approval, Registry
from training.sections import Onnx

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from model_server.manifest import Manifest


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: Of the command line; left out: the process's own.

    Returns:
        The exit code: 0 done, 1 a model or bundle is refused, 2 a mistake in what was asked, 130 interrupted.
    """
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except TrainingError as error:
        return _refuse(error.slug, error, error.exit_code)
    except ModelServerError as error:
        return _refuse(error.slug, error, 1)
    except OSError as error:  # a folder that cannot be written, a full disk
        return _refuse("file-error", f"{error.filename}: {error.strerror}", 2)
    except KeyboardInterrupt:
        return _refuse("interrupted", "nothing was written that is not whole", 130)


def _refuse(slug: str, text: object, exit_code: int) -> int:
    print(f"{slug}: {text}", file=sys.stderr)
    return exit_code


def _run(options: argparse.Namespace) -> int:
    registry = _registry(options)
    order = commands.Order(options.config, options.version, options.bump, options.keep_rejected, _onnx(options))
    around = commands.Surroundings(
        registry, provenance.here(options.git_commit), lambda: datetime.now(UTC), platform.node(), _progress()
    )
    outcome = commands.run(order, around)
    manifest = outcome.verified.manifest
    if outcome.reused:
        print(f"{_title(manifest)} is there already, made from the same inputs: {outcome.verified.directory}")
    else:
        print(page.training_report(outcome.verified, outcome.checks))
    if options.promote:
        _say_promoted(registry, manifest.name, manifest.version, options)
    elif registry.production(manifest.name) != manifest.version:
        print(f"Put it into production: python -m training promote {_title(manifest)} --registry {options.registry}")
    return 0


def _registry(options: argparse.Namespace) -> Registry:
    registry = Registry(options.registry)
    if options.promote:
        registry.approver(_approval(options))  # before minutes of training, not after them
    return registry


def _title(manifest: Manifest) -> str:
    return f"{manifest.name} {manifest.version}"


def _progress() -> Callable[[str], None]:
    started = time.monotonic()

    def say(line: str) -> None:
        print(f"[{time.monotonic() - started:5.1f} s] {line}", flush=True)

    return say


def _approval(options: argparse.Namespace) -> Approval:
    return Approval(options.who, datetime.now(UTC), options.why, _user())


def _user() -> str:
    # A container's user often has no name.
    return os.environ.get("USER") or os.environ.get("LOGNAME") or f"uid {os.getuid()}"


def _say_promoted(registry: Registry, name: str, version: str, options: argparse.Namespace) -> None:
    change = registry.promote(name, version, _approval(options))
    if change is None:
        print(f"{name} {version} is in production already")
    else:
        print(f"{name} {version} is in production; before: {change.previous or 'nothing'}")


def _promote(options: argparse.Namespace) -> int:
    _say_promoted(Registry(options.registry), options.name, options.version, options)
    return 0


def _rollback(options: argparse.Namespace) -> int:
    change = Registry(options.registry).rollback(options.name, _approval(options))
    print(f"{options.name} {change.version} is in production again; before: {change.previous}")
    return 0


def _list(options: argparse.Namespace) -> int:
    print(page.listing(Registry(options.registry)))
    return 0


def _verify(options: argparse.Namespace) -> int:
    verified = bundle.verify(options.directory, expected_digest=options.digest)
    print(page.verification(verified))
    return 0


def _inspect(options: argparse.Namespace) -> int:
    print(page.inspection(bundle.verify(options.directory, libraries="warn")))
    return 0


def _adopt(options: argparse.Namespace) -> int:
    files = Artifacts(
        options.model, options.sample, options.preprocessor, options.metadata, options.target, options.contract
    )
    print("Adopting unpickles your files, which runs code from them: adopt only what you made or trust.", flush=True)
    if options.write_contract:
        return _write_contract(files, options.write_contract)
    identity = adopt.Identity(
        options.name,
        options.version,
        options.description,
        options.label_definition,
        Serving(title=options.title or options.name),
        dict(options.floor),
        _onnx(options),
    )
    registry = _registry(options)
    verified, was_there = adopt.adopt(files, identity, registry, provenance.here(options.git_commit))
    print(
        f"{verified.directory} is there already, made from the same files" if was_there else page.inspection(verified)
    )
    if options.promote:
        _say_promoted(registry, options.name, options.version, options)
    return 0


def _onnx(options: argparse.Namespace) -> Onnx | None:
    if options.onnx_tolerance is not None:
        return Onnx(tolerance=options.onnx_tolerance)
    return Onnx() if options.onnx else None


def _tolerance(text: str) -> float:
    try:
        return Onnx(tolerance=float(text)).tolerance
    except ValueError:  # pydantic's own errors are such
        raise argparse.ArgumentTypeError("must be a number above 0 and at most 0.001") from None


def _write_contract(files: Artifacts, path: Path) -> int:
    if path.exists():
        raise BadArtifact(f"{path} exists and may be a reviewed contract: name another file")
    made = artifacts.read(files).contract
    path.write_text(inference.render(made, files.sample.name), encoding="utf-8")
    print(f"Wrote {path}: review it, then run again with --contract {path}")
    return 0


def _floor(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    return name, float(value)


def _export(options: argparse.Namespace) -> int:
    for path in two_files.export(bundle.verify(options.directory), options.folder):
        print(path)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training", description="Turn tables into checked bundles, and decide which of them is served."
    )
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        made = subparsers.add_parser(name, help=text, description=text)
        made.set_defaults(command=command)
        return made

    run = add("run", _run, "Train a model, measure it, hold it against its gates and write its bundle.")
    run.add_argument("config", type=Path, metavar="CONFIG", help="the model's YAML")
    run.add_argument("--version", help="semantic version of the bundle; left out: the configuration's")
    run.add_argument("--bump", action="store_true", help="if the version is taken, use the next free patch version")
    run.add_argument(
        "--keep-rejected", action="store_true", help="write the bundle even if a gate fails, to look at it"
    )
    _add_adopt_arguments(adopted := add("adopt", _adopt, "Make a bundle of a model that was fitted elsewhere."))
    promote = add("promote", _promote, "Put a version into production.")
    promote.add_argument("name", metavar="NAME")
    promote.add_argument("version", metavar="VERSION")
    rollback = add("rollback", _rollback, "Put the version that was in production before back.")
    rollback.add_argument("name", metavar="NAME")
    listing = add("list", _list, "Show models, versions and what is in production.")
    verify = add("verify", _verify, "Check that a bundle is whole and unchanged; opens nothing in it.")
    verify.add_argument("directory", type=Path, metavar="DIR")
    verify.add_argument("--digest", help="the SHA-256 that manifest.json must have")
    inspect = add("inspect", _inspect, "Show what is in a bundle.")
    inspect.add_argument("directory", type=Path, metavar="DIR")
    export = add("export", _export, "Write a bundle's pipeline as preprocessor.pkl, model.pkl and metadata.json.")
    export.add_argument("directory", type=Path, metavar="DIR")
    export.add_argument("folder", type=Path, metavar="OUT", help="where to write")
    for command in (run, adopted):
        command.add_argument("--promote", action="store_true", help="put it into production at once, if its gates pass")
        command.add_argument("--onnx", action="store_true", help="also convert the estimator for ONNX Runtime")
        command.add_argument(
            "--onnx-tolerance",
            type=_tolerance,
            metavar="NUMBER",
            help="the same; how far its answers may be from scikit-learn's, left out: the configuration's, or 1e-6",
        )
        command.add_argument("--git-commit", metavar="SHA", help="commit to record where .git is absent")
    for command in (run, adopted, promote, rollback, listing):
        command.add_argument(
            "--registry", type=Path, default=Path("artifacts"), metavar="DIR", help="default: artifacts"
        )
    for command in (run, adopted, promote, rollback):
        command.add_argument("--who", default="", help="who decides; left out: the user's account")
        command.add_argument("--why", default="", help="why, for the history")
    return parser


def _add_adopt_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", required=True, help="name of the model")
    parser.add_argument("--version", required=True, help="semantic version of the bundle")
    parser.add_argument("--model", type=Path, required=True, metavar="FILE", help="fitted estimator or Pipeline")
    parser.add_argument("--preprocessor", type=Path, metavar="FILE", help="fitted transformer that comes before it")
    parser.add_argument("--metadata", type=Path, metavar="FILE", help="metadata.json that came with it")
    parser.add_argument("--sample", type=Path, required=True, metavar="FILE", help="CSV or Parquet of real rows")
    parser.add_argument("--target", metavar="COLUMN", help="column of the sample with the true values")
    parser.add_argument("--contract", type=Path, metavar="FILE", help="YAML of the contract; left out: inferred")
    parser.add_argument("--write-contract", type=Path, metavar="FILE", help="write the inferred contract and stop")
    parser.add_argument("--floor", type=_floor, action="append", default=[], metavar="METRIC=VALUE")
    parser.add_argument("--description", default="", help="one sentence for people")
    parser.add_argument("--label-definition", default="not stated", help="what the target means")
    parser.add_argument("--title", default="", help="title of the API documentation")


if __name__ == "__main__":
    sys.exit(main())
