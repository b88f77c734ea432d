"""Python's garbage collector in a process that serves; knows nothing of what is served.

Starting up allocates some 200,000 objects that live as long as the process: the libraries. Collecting among them while
they are still being made finds nothing and costs a tenth of the start; later every full collection walks all of them,
100 ms in which no request is answered (docs/decisions.md, 8).
"""

from __future__ import annotations

import gc

# Full collections become rare: gen0 after 50,000 net allocations, gen1 after 20 of those, a full one after 50 of those.
# A request leaves almost no cycles, so reference counts free nearly everything at once.
_THRESHOLDS = (50_000, 20, 50)


def pause() -> None:
    """Collect nothing until ``settle``: what is allocated from here on is going to stay."""
    gc.disable()


def settle() -> None:
    """Take every object that lives now out of later collections, and collect the others again, but rarely."""
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
    gc.enable()
