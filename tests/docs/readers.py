"""Readers of the pages, each in a folder of their own."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

from tests.conformance.target import free_port
from tests.docs.page_run import PageRun
from tests.docs.pages import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def page_run_in(folder: Path) -> Iterator[PageRun]:
    """Follow a page in a folder that looks like the checkout, as far as its commands can tell."""
    folder.joinpath("training").mkdir()
    folder.joinpath("training", "configs").symlink_to(ROOT / "training" / "configs")
    http_port, grpc_port = free_port(), free_port()
    renamed = {
        "localhost:8080": f"127.0.0.1:{http_port}",
        "localhost:8081": f"127.0.0.1:{grpc_port}",
        ".venv/bin/python": sys.executable,
    }
    variables = [
        f"VENV={sys.prefix}",
        f"REGISTRY={folder}/artifacts",
        f"HTTP_PORT={http_port}",
        f"GRPC_PORT={grpc_port}",
    ]
    page_run = PageRun(folder, renamed, variables)
    try:
        yield page_run
    finally:
        page_run.stop()
