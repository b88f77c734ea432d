"""The error of clusters: of making, reaching and changing one; a program that fails has its own (tools.programs)."""


class ClusterError(Exception):
    """The cluster cannot be made, reached or changed as was asked; the text says what to do."""
