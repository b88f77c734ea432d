"""The garbage collector: silent while the process starts, rare while it serves, and still at work."""

from __future__ import annotations

import subprocess
import sys

import orjson

# In a process of its own: the collector of this one serves the other tests.
START = """
import gc, json, weakref
from model_server import garbage

class Cycle:
    def __init__(self):
        self.me = self

garbage.pause()
paused = gc.isenabled()
startup = Cycle()
garbage.settle()
later = weakref.ref(Cycle())
survived = later() is not None
for _ in range(200_000):
    Cycle()
print(json.dumps({
    "enabled while paused": paused,
    "enabled": gc.isenabled(),
    "start-up objects are looked at": any(found is startup for found in gc.get_objects()),
    "cycle survived its reference": survived,
    "cycle survived collections": later() is not None,
}))
"""


def test_start_up_objects_are_left_alone_and_later_cycles_are_freed() -> None:
    """Nothing is collected before the server settles, and start-up objects never; cycles of requests still go."""
    run = subprocess.run([sys.executable, "-c", START], capture_output=True, check=True)
    assert orjson.loads(run.stdout) == {
        "enabled while paused": False,
        "enabled": True,
        "start-up objects are looked at": False,
        "cycle survived its reference": True,
        "cycle survived collections": False,
    }
