"""Session: a converted estimator, opened; the one importer of ONNX Runtime."""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np

from model_server.parity.unforeseen import Unforeseen

if TYPE_CHECKING:
    from model_server.compiled.inputs import Array

#: Name of the converted estimator in a bundle.
MODEL = "model.onnx"
#: Names of its input, and of its output where it is a classifier.
COLUMNS, PROBABILITIES = "columns", "probabilities"
_DTYPES = {"tensor(float)": np.float32, "tensor(double)": np.float64}
_ONLY_FATAL = 4


class Missing(Exception):
    """A package of an extra is not installed; the text names the extra."""


class Session:
    """A converted estimator."""

    def __init__(self, content: bytes, threads: int = 1) -> None:
        """Open a converted estimator.

        Args:
            content: Of ``model.onnx``.
            threads: How many threads share one call, at most.

        Raises:
            Missing: ONNX Runtime is not installed.
            Unforeseen: It is no converted estimator, or not one that this ONNX Runtime takes.
        """
        runtime = _runtime()
        options = runtime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        # A thread that spins while it has nothing to do takes the processor from the event loop.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = _ONLY_FATAL  # what goes wrong is raised as well
        try:
            self._session: Any = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise Unforeseen(f"ONNX Runtime does not take the estimator ({type(error).__name__})") from error
        given = {each.name: each.type for each in self._session.get_inputs()}
        if given.keys() != {COLUMNS} or given[COLUMNS] not in _DTYPES:
            raise Unforeseen(f"{MODEL} does not take one matrix of numbers")
        self.dtype: Any = _DTYPES[given[COLUMNS]]
        names = [each.name for each in self._session.get_outputs()]
        self._asked = [PROBABILITIES if PROBABILITIES in names else names[0]]

    def run(self, columns: Array) -> Array:
        """Ask for N rows.

        Args:
            columns: Of the session's dtype, [N, C], C-contiguous.

        Returns:
            float64: probabilities [N, K], or values [N, 1].
        """
        answers: Array = self._session.run(self._asked, {COLUMNS: columns})[0].astype(np.float64)
        return answers


def _runtime() -> Any:
    try:
        import onnxruntime  # an extra, and 70 MB: only where it is asked for
    except ImportError as error:
        raise Missing("onnxruntime is not installed: pip install 'model-server[onnx]'") from error
    return onnxruntime


def libraries(*names: str) -> dict[str, str]:
    """Read the versions of installed packages."""
    return {name: metadata.version(name) for name in names}
