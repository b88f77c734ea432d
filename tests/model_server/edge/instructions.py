"""A program that asks the server some requests under Callgrind, which counts while it does, and only then.

`python -m tests.model_server.edge.instructions REGISTRY LOG` under `valgrind --tool=callgrind --instr-atstart=no`.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import uvloop

from tests.model_server.edge.wire_to_wire import TOGETHER, ask_all, connected, logging_to, on_the_wire, v1

#: Rounds of requests that are counted.
ROUNDS = 20


def switch(state: str) -> None:
    """Tell Callgrind to begin or to end; it hears of it only while this process computes."""
    with subprocess.Popen(["callgrind_control", "-i", state, str(os.getpid())], stdout=subprocess.DEVNULL) as asked:
        while asked.poll() is None:
            time.sleep(0.001)
    if asked.returncode:
        sys.exit(f"callgrind_control ended with {asked.returncode}")


async def main(registry: Path) -> None:
    """Warm up, then count."""
    wires, request = await connected(registry, TOGETHER), on_the_wire(*v1(1))
    for _ in range(5):
        await ask_all(wires, request)
    switch("on")
    for _ in range(ROUNDS):
        await ask_all(wires, request)
    switch("off")


if __name__ == "__main__":
    with logging_to(Path(sys.argv[2])), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(Path(sys.argv[1])))
