"""The signal of a stand-in that something is to be left to scikit-learn."""


class Unforeseen(Exception):
    """A step, a setting or a value that is left to scikit-learn."""
