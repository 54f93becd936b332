"""``/docs`` and ``/redoc``: pages that load nothing but what the service itself sends."""

from __future__ import annotations

import hashlib
import re
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import fastapi_offline
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from fastapi.responses import HTMLResponse
from starlette.routing import Route

from vinocast.transports.http.responses import LARGE_REPLY

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.types import Receive, Scope, Send

FOLDER = Path(fastapi_offline.__file__).parent / "static"
FILES = {
    "favicon.png": b"image/png",
    "swagger-ui.css": b"text/css; charset=utf-8",
    "swagger-ui-bundle.js": b"text/javascript; charset=utf-8",
    "redoc.standalone.js": b"text/javascript; charset=utf-8",
}
URL = "/static-offline-docs"
SCHEMA = "/openapi.json"
# Expressions of the paths that describe the service, which whoever asks may read.
OPEN_PAGES = ("/docs", "/redoc", re.escape(SCHEMA), f"{URL}/.*")
# A picture of the vendor's in Redoc's menu, which no setting switches off; an empty one hides itself.
LOGO = b"https://cdn.redoc.ly/redoc/logo-mini.svg"
# What browsers are told beside: both pages run scripts of their own text, and Redoc one from a blob.
POLICY = {"Content-Security-Policy": "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:"}


def add_pages(app: FastAPI) -> None:
    """Add both pages and their files to an application that has none of its own."""

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        page = get_swagger_ui_html(
            openapi_url=SCHEMA,
            title=f"{app.title}: try it",
            swagger_js_url=f"{URL}/swagger-ui-bundle.js",
            swagger_css_url=f"{URL}/swagger-ui.css",
            swagger_favicon_url=f"{URL}/favicon.png",
            # Else the schema of a service on an address of its own is sent to a validator outside.
            swagger_ui_parameters={"validatorUrl": None},
        )
        page.headers.update(POLICY)
        return page

    @app.get("/redoc", include_in_schema=False)
    async def redoc() -> HTMLResponse:
        page = get_redoc_html(
            openapi_url=SCHEMA,
            title=f"{app.title}: reference",
            redoc_js_url=f"{URL}/redoc.standalone.js",
            redoc_favicon_url=f"{URL}/favicon.png",
            with_google_fonts=False,
        )
        page.headers.update(POLICY)
        return page

    for name, media_type in FILES.items():
        app.router.routes.append(Route(f"{URL}/{name}", _File(FOLDER / name, media_type), methods=["GET"]))


class _File:
    """An application that answers with a file from memory, into which it is read when it is first asked for.

    So a client that does not read holds neither a descriptor nor a thread, and of the memory no more than a piece.
    """

    def __init__(self, path: Path, media_type: bytes) -> None:
        self._path = path
        self._media_type = media_type

    @cached_property
    def _content(self) -> tuple[bytes, bytes]:
        """What the file holds, and the tag by which a browser knows it again."""
        content = self._path.read_bytes().replace(LOGO, b"data:,")
        return content, b'"%s"' % hashlib.sha256(content).hexdigest()[:32].encode()

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Send the file, unless the browser has it."""
        content, tag = self._content
        fields = [(b"content-type", self._media_type), (b"etag", tag)]
        if tag in dict(scope["headers"]).get(b"if-none-match", b""):
            await send({"type": "http.response.start", "status": 304, "headers": fields})
        else:
            fields.append((b"content-length", b"%d" % len(content)))
            await send({"type": "http.response.start", "status": 200, "headers": fields})
            for start in range(0, len(content), LARGE_REPLY):  # each once the transport has room for it
                piece = content[start : start + LARGE_REPLY]
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
