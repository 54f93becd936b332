"""The child process: how it starts, how it ends, and what becomes of those who wait."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import vinocast
from support import MODEL, PATIENCE, copy_model, fix_hashes, in_threads, random_windows, wait_until
from vinocast.client import over_lines
from vinocast.client.over_lines import Child

WINDOW = np.ones((512, 7), np.float32)


def gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def outcome(ask: Callable[[], object]) -> object:
    """What was answered, or the error."""
    try:
        return ask()
    except vinocast.VinocastError as error:
        return error


def test_a_child_that_dies_ends_every_call_with_how_it_died() -> None:
    with vinocast.spawn() as child:
        os.kill(child.pid, signal.SIGSTOP)
        with ThreadPoolExecutor(8) as pool:
            waiting = [pool.submit(outcome, lambda: child.forecast(WINDOW)) for _ in range(20)]
            wait_until(lambda: len(child._waiting) == 8, "eight wait")
            os.kill(child.pid, signal.SIGKILL)
            for each in waiting:
                error = each.result(PATIENCE)
                assert isinstance(error, vinocast.ServiceUnreachableError)
                assert "was ended by signal 9 (SIGKILL)" in str(error)
        with pytest.raises(vinocast.ServiceUnreachableError, match="SIGKILL") as caught:
            child.ping()
        assert caught.value.unsent
    assert gone(child.pid)


def test_a_child_that_a_signal_without_a_name_ends_is_gone_at_once() -> None:
    with vinocast.spawn() as child:
        os.kill(child.pid, signal.SIGRTMIN + 5)
        wait_until(lambda: gone(child.pid), "its end")
        with pytest.raises(vinocast.ServiceUnreachableError, match="was ended by signal 39"):
            child.ping()


def test_a_child_that_is_closed_answers_what_it_has_taken_and_ends_by_the_end_of_its_input() -> None:
    child = vinocast.spawn()
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(outcome, lambda: child.forecast(WINDOW, [0])) for _ in range(64)]
        wait_until(asked[8].done, "some are answered")
        child.close()
        answers = [each.result(PATIENCE) for each in asked]
    # Each has an answer, or was refused before it was sent: none was given up.
    assert {type(each) for each in answers} <= {vinocast.Forecast, vinocast.ServiceUnreachableError}
    assert all(each.unsent for each in answers if isinstance(each, vinocast.ServiceUnreachableError))
    assert child._process.returncode == 0
    with pytest.raises(vinocast.ServiceUnreachableError, match="closed"):
        child.forecast(WINDOW)
    child.close()


def test_one_that_does_not_end_is_asked_by_sigterm_and_killed_at_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(over_lines, "DRAIN_SECONDS", 0.2)
    monkeypatch.setattr(over_lines, "TERMINATE_SECONDS", 0.2)
    sleeps = (
        'import signal, sys, time\n{}\nprint(\'{{"request_id":1,"ready":true,"max_request_bytes":9}}\', flush=True)\n'
    )
    sleeps += "time.sleep(600)"
    for how, code in (("", -signal.SIGTERM), ("signal.signal(signal.SIGTERM, signal.SIG_IGN)", -signal.SIGKILL)):
        command = [sys.executable, "-c", sleeps.format(how)]
        with Child(command, timeout=PATIENCE, start_timeout=PATIENCE, retries=0, log=None) as child:
            pass
        assert child._process.returncode == code
        assert gone(child.pid)


def test_a_call_that_has_waited_too_long_ends_and_its_late_answer_is_nobodys() -> None:
    windows = random_windows(2)
    with vinocast.spawn(timeout=PATIENCE) as child:
        first, second = (child.forecast(window) for window in windows)
        child._timeout = 0.3
        os.kill(child.pid, signal.SIGSTOP)
        for _ in range(3):
            with pytest.raises(vinocast.ServiceUnreachableError, match=r"not answered within 0.3 s") as caught:
                child.forecast(windows[0])
            assert not caught.value.unsent
        os.kill(child.pid, signal.SIGCONT)
        child._timeout = PATIENCE
        assert np.array_equal(child.forecast(windows[1]), second)
        assert np.array_equal(child.forecast(windows[0]), first)
        assert child.stats()["answered"]["forecast"] == 7
        assert not child._waiting


def test_no_more_than_so_many_are_with_the_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(over_lines, "MOST_IN_FLIGHT", 3)
    with vinocast.spawn(timeout=1) as child:
        os.kill(child.pid, signal.SIGSTOP)
        errors = in_threads(lambda _: outcome(child.ping), 5)
        assert sorted(bool(getattr(each, "unsent", None)) for each in errors) == [False] * 3 + [True] * 2
        os.kill(child.pid, signal.SIGCONT)
        child._timeout = PATIENCE
        assert child.ping()["ready"]


def test_what_the_pipe_has_no_room_for_arrives_whole() -> None:
    rows = np.random.default_rng(1).standard_normal((8_000, 7)).astype(np.float32)
    with vinocast.spawn(timeout=PATIENCE) as child:
        os.kill(child.pid, signal.SIGSTOP)
        threading.Timer(1, os.kill, (child.pid, signal.SIGCONT)).start()
        # 600 kB each, where the pipe holds a megabyte at most.
        observed = in_threads(lambda number: child.observe(f"s{number}", rows + number))
        assert observed == [vinocast.Observed(f"s{number}", 512, 0) for number in range(8)]
        for number in range(8):
            expected = child.forecast(rows[-512:] + np.float32(number))
            assert np.array_equal(child.forecast(stream=f"s{number}"), expected)


def test_a_line_that_is_too_long_is_not_sent() -> None:
    with vinocast.spawn(arguments=["--max-request-bytes", "20000"]) as child:
        assert child.forecast(WINDOW).shape == (96, 7)
        with pytest.raises(vinocast.LineTooLongError, match="at most 20000 bytes"):
            child.observe("a", np.ones((4000, 7)))
        assert child.stats()["failed"] == {}


@pytest.mark.parametrize(
    ("writes", "says"),
    [
        ("no JSON", "expected a reply of Vinocast"),
        ("[1]", "expected a reply of Vinocast"),
        ('{"request_id": 77}', "answered what it was not asked"),
        (
            '{"request_id": null, "success": false, "error": {"code": "line_too_long"}}',
            "answered what it was not asked",
        ),
        ('{"request_id": 1}', "it is not ready"),
        ('{"request_id": 1, "success": false, "error": {"code": "internal", "message": "why"}}', "why"),
    ],
)
def test_a_program_that_is_no_service_is_found_out_and_ended(writes: str, says: str) -> None:
    program = "import sys; print(sys.argv[1], flush=True); sys.stdin.read()"
    with pytest.raises(vinocast.VinocastError, match=says):
        Child([sys.executable, "-c", program, writes], timeout=9, start_timeout=PATIENCE, retries=0, log=None)


def test_a_service_that_does_not_start_says_why(tmp_path: Path) -> None:
    with (
        (tmp_path / "log").open("wb") as log,
        pytest.raises(vinocast.SetupError, match=r"did not start.* ended with code"),
    ):
        vinocast.spawn(tmp_path / "nothing", log=log)
    assert b"no folder of models" in (tmp_path / "log").read_bytes()
    folder = copy_model(tmp_path / "models")
    (folder / "model.bin").write_bytes(b"other weights")
    with pytest.raises(vinocast.VinocastError, match=r"model.bin"):
        vinocast.spawn(tmp_path / "models", log=subprocess.DEVNULL)
    fix_hashes(folder)
    with pytest.raises(vinocast.SetupError, match="cannot start"):
        Child([str(tmp_path / "nothing")], timeout=1, start_timeout=1, retries=0, log=None)


def test_options_reach_the_service(tmp_path: Path) -> None:
    copy_model(tmp_path / "models", "mine")
    with vinocast.spawn(tmp_path / "models", default_model="mine", profile="native", log=subprocess.DEVNULL) as child:
        assert child.forecast(WINDOW).model == "mine"
        assert child.ping()["profile"] == "native"


def test_a_forked_process_is_refused_and_ends_nothing() -> None:
    program = f"""
import os, sys
import numpy as np, vinocast
with vinocast.spawn(log=-3) as child:
    pid = os.fork()
    if not pid:
        try:
            child.ping()
        except vinocast.ServiceUnreachableError as error:
            child.close()
            os._exit(7 if "another process" in str(error) else 1)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    assert child.forecast(np.ones((512, 7))).model == {MODEL!r}
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=PATIENCE)


def test_a_forked_process_does_not_wait_for_a_model_of_its_parent() -> None:
    """While others compute: what they hold is held in the fork for ever."""
    program = """
import os, threading
import numpy as np, vinocast
model, window, done = vinocast.load(), np.ones((512, 7)), threading.Event()
def compute():
    while not done.is_set():
        model.forecast(window)
threads = [threading.Thread(target=compute) for _ in range(2)]
for thread in threads:
    thread.start()
pid = os.fork()
if not pid:
    try:
        model.forecast(window)
    except vinocast.ServiceUnreachableError as error:
        os._exit(7 if "another process" in str(error) and error.unsent else 1)
    os._exit(1)
code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
done.set()
assert code == 7, code
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=PATIENCE)


def test_a_child_ends_with_a_program_that_has_not_closed_it() -> None:
    program = "import vinocast; child = vinocast.spawn(log=-3); print(child.pid, flush=True)"
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, timeout=PATIENCE, text=True)
    wait_until(lambda: gone(int(done.stdout)), "the child ends")
    assert time.monotonic() - started < PATIENCE
