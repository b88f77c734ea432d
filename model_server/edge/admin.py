"""Admin routes for REST and gRPC: authorisation by a token, reload, load and unload."""

from __future__ import annotations

import hmac
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Depends, Request

from model_server.errors import Forbidden, NotSupported

if TYPE_CHECKING:
    from pydantic import SecretStr

    from model_server.serving.repository import BundleRepository

TOKEN_HEADER = "x-admin-token"  # noqa: S105 - the header's name


class Guard:
    """Authorises the holder of the admin token, and nobody where one process would answer for several."""

    def __init__(self, token: SecretStr | None, *, is_local: bool, workers: int = 1) -> None:
        """Keep the token.

        Args:
            token: The token, or None where none is set.
            is_local: Whether a server without token is open, as on a developer's machine.
            workers: How many processes share the ports; of several, a call reaches one.
        """
        self._token = None if token is None else token.get_secret_value().encode()
        self._is_local = is_local
        self._workers = workers

    def check(self, token: str | None) -> None:
        """Compare a caller's token in constant time.

        Raises:
            Forbidden: It is missing or wrong, or no token is set on this server.
            NotSupported: The call would change one of several workers, and the others would answer otherwise.
        """
        if self._token is None:
            if not self._is_local:
                raise Forbidden("admin routes are closed: no API_ADMIN_TOKEN is set on this server")
        elif not hmac.compare_digest((token or "").encode(), self._token):
            raise Forbidden("X-Admin-Token is missing or wrong")
        if self._workers > 1:
            raise NotSupported(
                f"this server has {self._workers} workers, and load, unload and reload would reach one of them: "
                "restart it (in Kubernetes, the pods) to take another version, or set workers to 1"
            )

    async def check_request(self, request: Request) -> None:
        """Compare the token of an HTTP request.

        Raises:
            Forbidden: See ``check``.
            NotSupported: See ``check``.
        """
        self.check(request.headers.get(TOKEN_HEADER))


def admin_router(repository: BundleRepository, guard: Guard) -> APIRouter:
    """Make ``/admin/reload`` and the guarded twins of KServe's load and unload.

    KServe mounts load and unload open to anybody: one POST from any client would remove the model for good.

    Args:
        repository: What loads.
        guard: Who may.

    Returns:
        The router.
    """
    router = APIRouter(tags=["admin"], dependencies=[Depends(guard.check_request)])

    @router.post("/admin/reload")
    async def reload() -> dict[str, Any]:
        """Fetch the bundle anew (in a registry: the version now in production), check it and swap it in.

        A failure answers 503 with the reason, and what was served before still is.
        """
        loaded = await repository.reload()
        return {
            "status": "reloaded",
            "models_loaded": 1,
            "models": [{"name": loaded.name, "version": loaded.version}],
            "reloaded_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }

    @router.post("/v2/repository/models/{model_name}/load")
    async def load(model_name: str) -> dict[str, Any]:
        """Fetch the bundle anew, check it and swap it in."""
        await repository.load(model_name)
        return {"name": model_name, "load": True}

    @router.post("/v2/repository/models/{model_name}/unload")
    async def unload(model_name: str) -> dict[str, Any]:
        """Stop serving the model, until it is loaded again."""
        repository.unload(model_name)
        return {"name": model_name, "unload": True}

    return router
