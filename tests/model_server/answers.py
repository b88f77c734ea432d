"""Answers as the service gives them, made without a queue, and how their bytes are read back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from model_server.serving.call import Answer, BatchResult, Call, Options, result_of
from model_server.wire.v1 import encode_v1
from model_server.wire.v2 import encode_v2

if TYPE_CHECKING:
    from model_server.serving.loaded import LoadedBundle


def answer(loaded: LoadedBundle, rows: list[Any], *, reasons: int = 0, **asked: Any) -> Answer:
    """Predict rows and pack them as the service does."""
    frame = loaded.contract.frame(rows)
    told = tuple(loaded.explainer().explain(frame).reasons(reasons)) if reasons else ()
    call = Call(rows=rows, options=Options(reasons), **asked)
    prediction = loaded.predictor.predict(frame)
    return Answer(call, loaded, result_of(BatchResult(frame, prediction, told)))


def read_v1(found: Answer, *, bare: bool = False) -> Any:
    """Read the v1 bytes back."""
    return orjson.loads(encode_v1(found, bare=bare))


def read_v2(found: Answer) -> Any:
    """Read the v2 bytes back; JSON only."""
    content, size = encode_v2(found)
    assert size is None
    return orjson.loads(content)
