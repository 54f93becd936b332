"""What a newcomer can send to this very service: commands for its welcome."""

from __future__ import annotations

import contextlib
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from vinocast.data.bundled import bundled_examples
from vinocast.ops import OPS
from vinocast.protocols import examples
from vinocast.transports.http.listeners import url_of

if TYPE_CHECKING:
    import socket

    from vinocast.dataplane import DataPlane
    from vinocast.settings import HttpSettings

WELCOME = """
Vinocast is ready on {url}. Try:

{commands}
{url}/docs describes the routes and lets you try them; Ctrl-C stops.
"""


def welcome(listener: socket.socket, commands: str) -> str:
    """Return what is printed once the service is ready: the commands of :func:`commands` among it."""
    url = re.sub(r"//(0\.0\.0\.0|\[::\]):", "//127.0.0.1:", url_of(listener))  # from which this host can ask it
    return WELCOME.replace("{commands}", commands).replace("{url}", url)


def commands(plane: DataPlane, settings: HttpSettings) -> str:
    """Return shell commands, a line each, that this service answers with success; ``{url}`` stands for its address."""
    lines = []
    window = bundled_examples() / "window.json"
    rows = orjson.loads(window.read_bytes())["past_values"]
    context, channels = plane.window_shape
    token = _token(settings)
    if (len(rows), len(rows[0])) == (context, len(channels)):
        lines.append(_post("forecast", token, _from_file(window)))
    elif plane.serves(OPS["observe"]):
        row = orjson.dumps(examples.observe(context, channels)).decode()
        lines.append(_post(f"streams/{examples.STREAM}/observations", token, row))
    if plane.serves(OPS["glyphs"]):
        lines.append(_post("glyphs", token, _from_file(bundled_examples() / "glyphs.json")))
    return "".join(f"  {line}\n" for line in lines)


def _post(path: str, token: str, data: str) -> str:
    return f"curl -s {{url}}/{path}{token} -H 'Content-Type: application/json' -d {shlex.quote(data)}"


def _token(settings: HttpSettings) -> str:
    """Return the option of curl that sends the token: by where it is, not what it is."""
    if settings.token is None:
        return ""
    place = f"$(cat {shlex.quote(str(settings.token_file))})" if settings.token_file else "$VINOCAST_TOKEN"
    return f' -H "Authorization: Bearer {place}"'


def _from_file(path: Path) -> str:
    with contextlib.suppress(OSError, ValueError):  # the folder we are in is gone, or another one
        path = path.relative_to(Path.cwd())
    return f"@{path}"
