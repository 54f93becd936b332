"""A service asked over HTTP with what Python brings: a command may stand where the extra ``client`` does not."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request

from vinocast.errors import SetupError, printable

# A service with a hundred models writes about one.
MOST_BYTES = 16 * 2**20


class RefusedError(SetupError):
    """A service has answered with an error.

    Attributes:
        status: of HTTP.
        body: of the answer.
    """

    def __init__(self, url: str, status: int, body: bytes) -> None:
        hint = "name its token with --token-file" if status == 401 else "so it is no Vinocast, or none for us"
        super().__init__(f"{printable(url)} answers {status}: {hint}")
        self.status = status
        self.body = body


def ask(url: str, path: str, token: bytes | None, patience: float, body: bytes | None = None) -> bytes:
    """Return what a service answers to a GET, or to a POST of JSON; raises SetupError where none does.

    Raises RefusedError where it answers with an error. No redirection is followed, as the token would go with it.
    """
    address = f"{url.rstrip('/')}{path}"
    headers = {} if token is None else {"Authorization": f"Bearer {token.decode()}"}
    if body is not None:
        headers["Content-Type"] = "application/json"
    try:
        request = urllib.request.Request(address, body, headers)  # noqa: S310 - the user names the service
        with _OPENER.open(request, timeout=patience) as response:
            answer: bytes = response.read(MOST_BYTES + 1)
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = printable(str(error.reason if isinstance(error, urllib.error.URLError) else error))
        raise SetupError(f"{printable(url)}: no service answers ({reason}); name it with --url") from None
    if response.status != 200:
        raise RefusedError(address, response.status, answer)
    if len(answer) > MOST_BYTES:
        raise SetupError(f"{printable(address)} answers with more than {MOST_BYTES} bytes: it is no Vinocast")
    return answer


class _AsItComes(urllib.request.HTTPErrorProcessor):
    """Hands on what is answered, whatever its status: no error is raised, and no redirection followed."""

    def http_response(
        self,
        request: urllib.request.Request,  # noqa: ARG002 - the base's signature
        response: http.client.HTTPResponse,
    ) -> http.client.HTTPResponse:
        return response

    https_response = http_response


_OPENER = urllib.request.build_opener(_AsItComes)
