"""LoadedBundle: a bundle that is ready to predict, and the steps by which one is loaded: verify, open, warm up."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from model_server import bundle, compiled, onnx
from model_server.approval import admit
from model_server.checks import Status, worst
from model_server.errors import BundleError, BundleIncompatible, GoldenMismatch, ModelServerError, NotSupported
from model_server.predictor import Predictor
from model_server.sources.uri import from_uri, record_of
from model_server.telemetry.logs import logger
from model_server.telemetry.stopwatch import Stopwatch

if TYPE_CHECKING:
    from model_server.approval import Approval
    from model_server.contract import Contract
    from model_server.explain import Explainer
    from model_server.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which bundle to serve, and how strictly.

    Attributes:
        uri: Where bundles come from.
        name: Name on the routes, or None for the manifest's.
        version: Version it must have, or None.
        digest: Digest it must have, or None.
        libraries: What to do when scikit-learn differs.
        predictor: What is to answer, where the bundle's record allows it.
        threads: How many threads of ONNX Runtime share one call.
        allow_unapproved: Whether a version is served that is not approved.
    """

    uri: str
    name: str | None = None
    version: str | None = None
    digest: str | None = None
    libraries: bundle.LibraryPolicy = "refuse"
    predictor: Literal["compiled", "onnx", "scikit-learn"] = "compiled"
    threads: int = 1
    allow_unapproved: bool = False


@dataclass(slots=True, eq=False)
class LoadedBundle:
    """A bundle that is ready to predict: verified, opened, warmed up.

    Attributes:
        name: Name on the routes.
        predictor: Answers frames.
        digest: Digest of the bundle.
        load_s: Seconds from fetching it to the end of its warm-up.
        why: Reason for the choice of the predictor.
        approval: Who approved of the bundle, in one word.
        version: Version of the bundle.
        contract: Contract of the bundle.
    """

    name: str
    predictor: Predictor
    digest: str
    load_s: float
    why: str
    approval: Approval
    _explainer: Explainer | str | None = field(default=None, repr=False)
    version: str = field(init=False)
    contract: Contract = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.version, self.contract = self.manifest.version, self.manifest.contract

    @property
    def manifest(self) -> Manifest:
        """Manifest of the bundle."""
        return self.predictor.bundle.manifest

    def explainer(self) -> Explainer:
        """Give the explainer, built on first use; two threads may build it twice, with the same result.

        Raises:
            NotSupported: The estimator cannot be explained exactly.
        """
        if self._explainer is None:
            self._explainer = _explainer_of(self.predictor)
        if isinstance(self._explainer, str):
            raise NotSupported(self._explainer)
        return self._explainer

    @property
    def can_explain(self) -> bool:
        """Whether reasons can be given without being asked for: there is an explainer, and it is built."""
        return self._explainer is not None and not isinstance(self._explainer, str)


def _explainer_of(predictor: Predictor) -> Explainer | str:
    from model_server.explain import Explainer  # only explanations need it

    try:
        return Explainer.for_predictor(predictor)
    except NotSupported as error:
        return str(error)


def build(wanted: Wanted) -> LoadedBundle:
    """Fetch, verify, open and warm up a bundle; slow and synchronous.

    Raises:
        BundleError: Some step failed; the text says which and what to do.
        ConfigError: The location is none that is read here.
    """
    try:
        return _built(wanted)
    except ModelServerError:
        raise
    except BaseException as error:  # unpickling runs the bundle's own code, which may raise anything, SystemExit too
        logger.exception("loading failed")
        raise BundleError(
            f"the bundle could not be loaded ({type(error).__name__}): the log says where; "
            "mend the code that it brings along, or train it again"
        ) from error


def _built(wanted: Wanted) -> LoadedBundle:
    watch = Stopwatch()
    directory = from_uri(wanted.uri, wanted.name, wanted.version)
    verified = bundle.verify(directory, expected_digest=wanted.digest, libraries=wanted.libraries)
    for warning in verified.warnings:
        logger.warning("library differs: %s", warning)
    _check_version(verified, wanted.version)
    approved = _approved(verified, wanted)
    predictor = Predictor(bundle.open_bundle(verified))
    checks = predictor.check_golden()
    if worst(checks) is not Status.PASS:
        failed = "; ".join(" ".join(str(check).split()) for check in checks if check.status is not Status.PASS)
        raise GoldenMismatch(
            f"{directory} does not answer its golden rows as training recorded them ({failed}): "
            "serve it with the library versions of its manifest, or train it again"
        )
    predictor, why = _chosen(predictor, wanted)
    # A model with tiers tells its reasons unasked, so its first request must not wait for the explainer.
    explainer = _explainer_of(predictor) if predictor.contract.output.tiers else None
    name = wanted.name or verified.manifest.name
    return LoadedBundle(name, predictor, verified.digest, watch.elapsed_s, why, approved, explainer)


def _approved(verified: bundle.Verified, wanted: Wanted) -> Approval:
    record = record_of(verified.directory, wanted.uri)
    verdict = admit(verified, record, allow_unapproved=wanted.allow_unapproved)
    if not verdict.is_served:
        logger.warning("served although not approved: %s", verdict.why)
    return verdict.approval


def _chosen(predictor: Predictor, wanted: Wanted) -> tuple[Predictor, str]:
    if wanted.predictor == "scikit-learn":
        return predictor, "the setting predictor says so"
    if wanted.predictor == "compiled":
        return compiled.choose(predictor)
    converted, why = onnx.choose(predictor, wanted.threads)
    if converted is not None:
        return converted, why
    chosen, reason = compiled.choose(predictor)
    return chosen, f"not onnx: {why}; {chosen.model.name}: {reason}"


def _check_version(verified: bundle.Verified, version: str | None) -> None:
    found = verified.manifest.version
    if version is not None and found != version:
        raise BundleIncompatible(
            f"{verified.directory} is version {found}, but model_version is {version}: "
            "correct the setting or point model_dir at that version"
        )
