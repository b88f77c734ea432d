"""The API pages: /openapi.json, /docs and /redoc, with everything they load served from here; knows no route but these.

A cluster often has no way out, so no page refers to another host.
"""

from __future__ import annotations

import html
from importlib import resources
from typing import TYPE_CHECKING, Any

import orjson
from fastapi import APIRouter
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from fastapi.responses import FileResponse, HTMLResponse, Response

from model_server.edge.api.described import described
from model_server.edge.api.openapi import document
from model_server.errors import RouteNotFound

if TYPE_CHECKING:
    from model_server.serving.loaded import LoadedBundle
    from model_server.serving.repository import BundleRepository

# Relative to the page, so that they work behind a path prefix too.
OPENAPI, ASSETS = "openapi.json", "docs/assets"
NO_ICON = "data:,"
_FILES = {
    "swagger-ui-bundle.js": "swagger/swagger-ui-bundle.js",
    "swagger-ui.css": "swagger/swagger-ui.css",
    "redoc.standalone.js": "redoc/redoc.standalone.js",
}


class Pages:
    """The pages of what is served now; the document is made once a bundle."""

    def __init__(self, repository: BundleRepository, *, bare: bool) -> None:
        """Bind the repository.

        Args:
            repository: Knows what is loaded.
            bare: Whether v1 predictions are bare labels or values.
        """
        self._repository = repository
        self._bare = bare
        self._made: tuple[LoadedBundle | None, bytes] | None = None

    def openapi(self) -> Response:
        """Give the OpenAPI document; not async, so that it is made off the event loop."""
        loaded = self._repository.loaded
        if self._made is None or self._made[0] is not loaded:
            model = None if loaded is None else described(loaded, bare=self._bare)
            self._made = loaded, orjson.dumps(document(model))
        return Response(self._made[1], media_type="application/json")

    async def docs(self) -> HTMLResponse:
        """Give the page on which requests can be tried."""
        return get_swagger_ui_html(
            openapi_url=OPENAPI,
            title=self._title(),
            swagger_js_url=f"{ASSETS}/swagger-ui-bundle.js",
            swagger_css_url=f"{ASSETS}/swagger-ui.css",
            swagger_favicon_url=NO_ICON,
        )

    async def redoc(self) -> HTMLResponse:
        """Give the page for reading."""
        return get_redoc_html(
            openapi_url=OPENAPI,
            title=self._title(),
            redoc_js_url=f"{ASSETS}/redoc.standalone.js",
            redoc_favicon_url=NO_ICON,
            with_google_fonts=False,
        )

    def _title(self) -> str:
        loaded = self._repository.loaded
        title = "Model server" if loaded is None else loaded.manifest.serving.title or loaded.name
        return html.escape(title)


async def asset(name: str) -> FileResponse:
    """Give a script or style of the pages.

    Raises:
        RouteNotFound: There is no such file.
    """
    if name not in _FILES:
        raise RouteNotFound("there is no such path; /docs lists the routes")
    path = resources.files("fastapi_standalone_docs") / "static" / _FILES[name]
    return FileResponse(str(path), headers={"cache-control": "max-age=86400"})


def pages_router(repository: BundleRepository, *, bare: bool) -> APIRouter:
    """Make the routes of the pages; arguments as for ``Pages``."""
    pages = Pages(repository, bare=bare)
    router = APIRouter(include_in_schema=False)
    routes: dict[str, Any] = {
        f"/{OPENAPI}": pages.openapi,
        "/docs": pages.docs,
        "/redoc": pages.redoc,
        f"/{ASSETS}/{{name}}": asset,
    }
    for path, endpoint in routes.items():
        router.add_api_route(path, endpoint, methods=["GET"], response_model=None)
    return router
