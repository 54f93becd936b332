"""Downloads of the data sets that the project may not carry with it."""

from __future__ import annotations

import hashlib
import urllib.error
import urllib.request
from http.client import HTTPException
from typing import TYPE_CHECKING

from vinocast.data.atomic import whole_file
from vinocast.data.etth1 import SHA256
from vinocast.data.regular import sha256_file
from vinocast.errors import SetupError
from vinocast.progress import progress

if TYPE_CHECKING:
    from collections.abc import Iterator
    from http.client import HTTPResponse
    from pathlib import Path

ETTH1_URL = "https://raw.githubusercontent.com/zhouhaoyi/ETDataset/main/ETT-small/ETTh1.csv"
TIMEOUT_S = 30
CHUNK_BYTES = 64 * 1024
# Some 25 times what is wanted: whoever sends more sends something else.
MOST_BYTES = 64 * 1024 * 1024


def fetch(output: Path, url: str = ETTH1_URL, sha256: str = SHA256) -> bool:
    """Make ``output`` the file of that hash, downloading it unless it is already there.

    The file appears whole or not at all; one of another content is replaced only by the right one. Shows its progress
    on standard error.

    Returns:
        Whether anything was downloaded.

    Raises:
        SetupError: no connection, a connection that broke off, content of another hash, a folder that cannot be
            written.
    """
    try:
        if output.exists() and sha256_file(output) == sha256:
            return False
        with whole_file(output) as part:
            _download(url, part, sha256)
    except OSError as error:
        raise SetupError(f"{output}: {error.strerror or error}; name another file with --output") from error
    return True


def _download(url: str, part: Path, sha256: str) -> None:
    mend = f"try again, or copy the file here from a machine that has it (sha256 {sha256})"
    digest = hashlib.sha256()
    with part.open("wb") as file, _open(url, mend) as response:
        said = response.headers.get("Content-Length", "")
        length = int(said) if said.isdecimal() and len(said) < 20 else 0  # for the bar; the hash decides
        with progress(length, url) as bar:
            for chunk in _chunks(response, url, mend):
                file.write(chunk)
                digest.update(chunk)
                bar.update(len(chunk))
                if file.tell() > MOST_BYTES:
                    raise SetupError(f"{url} holds another file, of more than {MOST_BYTES} bytes: {mend}")
        received = file.tell()
    if received < length:
        raise SetupError(f"{url} broke off after {received} of {length} bytes: {mend}")
    if digest.hexdigest() != sha256:
        raise SetupError(f"{url} holds another file, of sha256 {digest.hexdigest()}: {mend}")


def _open(url: str, mend: str) -> HTTPResponse:
    try:
        response: HTTPResponse = urllib.request.urlopen(url, timeout=TIMEOUT_S)  # noqa: S310 - the address is ours
    except (OSError, HTTPException) as error:
        if isinstance(error, urllib.error.HTTPError):
            # A refusal is a response as well, with a connection of its own.
            error.close()
        raise SetupError(f"{url} cannot be reached ({error}): {mend}") from error
    return response


def _chunks(response: HTTPResponse, url: str, mend: str) -> Iterator[bytes]:
    try:
        while chunk := response.read(CHUNK_BYTES):
            yield chunk
    except (OSError, HTTPException) as error:
        raise SetupError(f"{url} broke off ({error}): {mend}") from error
