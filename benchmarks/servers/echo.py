"""The limit: the same JSON decoded, laid out as an array and encoded again under uvicorn, without a model."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import orjson
import uvicorn


async def echo(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer ``{"instances": [row, …]}`` with one number a row."""
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    if body:
        rows = np.array(orjson.loads(body)["instances"], dtype=np.float64)
        body = orjson.dumps({"predictions": rows[:, 0].tolist()})
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    uvicorn.run(echo, host="127.0.0.1", port=int(sys.argv[1]), access_log=False, log_level="warning", lifespan="off")
