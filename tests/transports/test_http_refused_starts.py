"""Services that strangers could ask, and that do not start so."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest
from guarded import GIVEN, TOKEN, two_cores
from support import RunVinocast


def strip(env: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("VINOCAST_")} | env


@pytest.mark.parametrize(
    ("options", "env"),
    [
        ("--host 0.0.0.0", {}),
        ("--host ::", {}),
        ("--host 0", {}),
        ("--host ::ffff:0.0.0.0", {}),
        ("--host 0.0.0.0 --workers 2", {}),
        ("", {"VINOCAST_HOST": "0.0.0.0"}),
        ("", {"VINOCAST_HOST": "0.0.0.0", "VINOCAST_TOKN": TOKEN}),
    ],
)
@two_cores
def test_where_others_can_ask_it_does_not_start_without_a_token(
    run_vinocast: RunVinocast, options: str, env: dict[str, str]
) -> None:
    done = run_vinocast("serve", "--port", "0", *shlex.split(options), env=strip(env))
    assert done.returncode == 2
    assert "running on" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert "lets other machines ask" in last
    assert all(mend in last for mend in ("--token-file", "VINOCAST_TOKEN", "--insecure"))


@pytest.mark.parametrize(
    ("options", "env", "code", "message"),
    [
        (["--host", ""], {}, 2, "'--host'"),
        (["--host", " "], {}, 2, "'--host'"),
        ([], {"VINOCAST_TOKEN": ""}, 2, "VINOCAST_TOKEN holds no token"),
        ([], {"VINOCAST_TOKEN": "short"}, 2, "got 5 bytes"),
        ([], {"VINOCAST_TOKEN_FILE": ""}, 2, "VINOCAST_TOKEN_FILE is empty"),
        (["--token-file", "{file}"], {"VINOCAST_TOKEN": TOKEN}, 2, "give the token once"),
        (["--token-file", "{empty}"], {}, 1, "empty holds no token"),
        (["--token-file", "{spaced}"], {}, 1, "spaced holds no token"),
        (["--token-file", "{huge}"], {}, 1, "huge holds no token"),
        (["--token-file", "{fifo}"], {}, 1, "not a regular file"),
        (["--token-file", "/dev/zero"], {}, 1, "not a regular file"),
        (["--token-file", "{nowhere}"], {}, 1, "No such file"),
        (["--token-file", "."], {}, 1, "Is a directory"),
        (["--token", TOKEN], {}, 2, "No such option"),
        (["--allowed-hosts", "vino.example:8000"], {}, 2, "'--allowed-hosts'"),
        (["--allowed-hosts", "*"], {}, 2, "'--allowed-hosts'"),
        (["--allowed-hosts", ""], {}, 2, "'--allowed-hosts'"),
        (["--allowed-origins", "*"], {}, 2, "'--allowed-origins'"),
        (["--allowed-origins", "null"], {}, 2, "'--allowed-origins'"),
        (["--allowed-origins", f"{GIVEN}/"], {}, 2, "'--allowed-origins'"),
        (["--allowed-origins", f"{GIVEN}:443"], {}, 2, "'--allowed-origins'"),
        (["--allowed-origins", f"{GIVEN}, http://vino.example:80"], {}, 2, "'--allowed-origins'"),
    ],
)
def test_what_would_not_guard_as_it_was_meant_ends_it_with_a_sentence(
    run_vinocast: RunVinocast, tmp_path: Path, options: list[str], env: dict[str, str], code: int, message: str
) -> None:
    contents = {"file": TOKEN, "empty": "\n", "spaced": f"{TOKEN} {TOKEN}", "huge": "x" * 100_000}
    for name, text in contents.items():
        (tmp_path / name).write_text(text)
    os.mkfifo(tmp_path / "fifo")
    places = {name: str(tmp_path / name) for name in (*contents, "fifo", "nowhere")}
    done = run_vinocast("serve", "--port", "0", *(each.format(**places) for each in options), env=strip(env))
    last = done.stderr.splitlines()[-1]
    assert (done.returncode, message in last) == (code, True), done.stderr
    if message != "No such option":
        assert TOKEN not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "state", "text"),
    [
        ([], "ok", "127.0.0.1, which only this host reaches; no token; no pages but its own"),
        (["--host", "0.0.0.0"], "FAIL", "lets other machines ask"),
        (["--host", "0.0.0.0", "--insecure"], "WARN", "0.0.0.0, which other machines reach; no token"),
        (["--host", "0.0.0.0", "--token-file", "{token}"], "ok", "0.0.0.0, which other machines reach; a token"),
        (
            ["--allowed-hosts", "vino.example", "--allowed-origins", GIVEN],
            "ok",
            f"no token; asked for as vino.example; pages of {GIVEN}",
        ),
    ],
)
def test_the_doctor_says_who_may_ask(
    run_vinocast: RunVinocast, token_file: Path, options: list[str], state: str, text: str
) -> None:
    done = run_vinocast("doctor", *(each.format(token=token_file) for each in options), env=strip({}))
    (line,) = [line for line in done.stdout.splitlines() if line[5:].startswith("access ")]
    assert (line[:4].strip(), text in line) == (state, True), line
    assert done.returncode == int(state == "FAIL")
    assert TOKEN not in done.stdout + done.stderr
