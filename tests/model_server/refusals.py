"""How tests read a refusal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from model_server.errors import ModelServerError


def refusal(error: type[ModelServerError], call: Any, *arguments: Any) -> str:
    """Give the text with which a call is refused."""
    with pytest.raises(error) as caught:
        call(*arguments)
    return str(caught.value)
