"""What in a new OpenAPI document breaks clients of an old one: asks oasdiff, and says what we take more seriously.

Everything that oasdiff calls an error or a warning counts: it warns of what a lenient server would ignore, and this one
refuses what its document does not name.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from tools import gotools

Json = dict[str, Any]

#: oasdiff takes these for news only. Our headers and the optional keys of our answers are promised, too.
SEVERITY = """\
optional-response-header-removed err
response-optional-property-removed err
"""


def breaks(old: Json, new: Json) -> list[str]:
    """List what of an old document a new one breaks.

    Args:
        old: The published document.
        new: The one that would replace it.

    Returns:
        One line a break, with oasdiff's name for it and its place; empty when no client has to change.
    """
    with tempfile.TemporaryDirectory() as scratch:
        before, after, levels = (Path(scratch, name) for name in ("before.json", "after.json", "levels.txt"))
        before.write_text(json.dumps(old), "utf-8")
        after.write_text(json.dumps(new), "utf-8")
        levels.write_text(SEVERITY, "utf-8")
        options = ("--format=json", f"--severity-levels={levels}", str(before), str(after))
        command = [str(gotools.build("oasdiff")), "breaking", *options]
        found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return [f"{one['operation']} {one['path']}: {one['id']}: {one['text']}" for one in found]
