"""``/docs`` and ``/redoc``: pages that load nothing but what the service itself sends."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import fastapi_offline
from fastapi import Response
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

if TYPE_CHECKING:
    from fastapi import FastAPI

FILES = Path(fastapi_offline.__file__).parent / "static"
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

    @app.get(f"{URL}/redoc.standalone.js", include_in_schema=False)
    async def redoc_script() -> Response:
        script = (FILES / "redoc.standalone.js").read_bytes().replace(LOGO, b"data:,")
        return Response(script, media_type="text/javascript")

    app.mount(URL, StaticFiles(directory=FILES), name="pages")
