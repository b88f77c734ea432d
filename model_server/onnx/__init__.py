"""ONNX: a fitted estimator converted for ONNX Runtime, within a recorded tolerance; asked only where it is asked for.

The steps before the estimator stay compiled ones, exact and in double precision: what moves the last bit of a column
moves a row to the other side of a split. Only the estimator is converted, and only if it is of a kind whose splits are
known, so that they can be looked at. Labels and tiers are those of scikit-learn, because an answer that lies within the
tolerance of a limit is asked of scikit-learn itself.
"""

from model_server.onnx.converted_model import parts, steps_before
from model_server.onnx.parity import choose, measure
from model_server.onnx.session import COLUMNS, MODEL, Missing, libraries

__all__ = ["COLUMNS", "MODEL", "Missing", "choose", "libraries", "measure", "parts", "steps_before"]
