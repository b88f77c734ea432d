"""Where bundles are read from; see ``uri``."""
