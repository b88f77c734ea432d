"""Compiled kernels: a fitted pipeline without scikit-learn's checks; the very same numbers, or scikit-learn's own.

scikit-learn's steps check and convert their input at every call, which for one row costs many times the model itself,
though the contract has checked it already. Here the steps' arithmetic and the estimators' own compiled kernels start
from the checked frame. They are used only where they were compared with the pipeline and gave the same answers, when
the bundle was made and again when it is loaded; every value they were not made for is left to scikit-learn.
"""

from model_server.compiled.compiled_model import CompiledModel
from model_server.compiled.parity import choose, measure

__all__ = ["CompiledModel", "choose", "measure"]
