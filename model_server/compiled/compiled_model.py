"""CompiledModel: a whole pipeline compiled, in the pipeline's place, with the pipeline as fallback."""

from __future__ import annotations

from typing import TYPE_CHECKING

from model_server.compiled.inputs import Array, Given, inputs_of
from model_server.compiled.models import compile_model
from model_server.parity.splits import Splits
from model_server.parity.unforeseen import Unforeseen

if TYPE_CHECKING:
    from model_server.compiled.inputs import Inputs
    from model_server.compiled.kernel import Kernel
    from model_server.frame import Frame
    from model_server.predictor import Fitted


class CompiledModel:
    """Kernels that answer like a fitted pipeline; see ``model_server.predictor.Model``.

    Attributes:
        kernel: The methods, on what compiled steps take.
        splits: Where the answers jump.
    """

    name = "compiled"

    def __init__(self, fitted: Fitted, sample: Frame) -> None:
        """Compile a pipeline.

        Args:
            fitted: The pipeline; it is asked wherever a value is not one that compiled steps were made for.
            sample: Some rows, to learn from what passes between the steps.

        Raises:
            Unforeseen: It cannot be compiled.
        """
        self._fitted = fitted
        self.kernel: Kernel = compile_model(fitted.pipeline, Given(inputs_of(sample), named=fitted.by_name))
        self.is_bounded = not self.kernel.left
        self.splits = tuple(_in_frames(some) for some in self.kernel.splits)
        self._probable = self.kernel.predict_proba

    def predict(self, frame: Frame) -> Array:
        """See ``Model``."""
        try:
            return self.kernel.predict(inputs_of(frame))
        except Unforeseen:
            return self._fitted.predict(frame)

    def predict_proba(self, frame: Frame) -> Array:
        """See ``Model``."""
        if self._probable is None:
            return self._fitted.predict_proba(frame)
        try:
            return self._probable(inputs_of(frame))
        except Unforeseen:
            return self._fitted.predict_proba(frame)


def _in_frames(splits: Splits[Inputs]) -> Splits[Frame]:
    """Take frames where a kernel takes inputs."""
    return Splits(lambda frame: splits.before(inputs_of(frame)), splits.column, splits.threshold, splits.single)
