"""What ``vinocast top`` shows of a real service: as a page, on the screen, and where there is none."""

from __future__ import annotations

import asyncio
import math
import threading
from http.server import HTTPServer, SimpleHTTPRequestHandler

import httpx
import pytest
from support import MODEL, HttpService, RunVinocast, packed, random_windows
from textual.widgets import DataTable, Static
from vinocast.top.scrapes import Scrape, scrape
from vinocast.top.screen import Screen
from vinocast.top.tables import page, quantile, tables

(WINDOW,) = random_windows(1)


def rows(text: str, title: str) -> list[list[str]]:
    """The cells of a table of a page, without its columns."""
    (block,) = [block for block in text.split("\n\n") if block.startswith(f"{title}\n")]
    return [line.split() for line in block.splitlines()[2:]]


def ask(service: HttpService, count: int) -> None:
    with httpx.Client(base_url=service.url) as client:
        for _ in range(count):
            assert client.post("/forecast", json=packed(WINDOW)).status_code == 200
        assert client.post("/forecast", json={"past_values": [[1.0]]}).status_code == 422


def test_a_page_tells_what_went_on_between_two_scrapes(run_vinocast: RunVinocast) -> None:
    with HttpService() as service:
        ask(service, 3)  # before the first look, and so of no rate
        first = scrape(service.url, None)
        ask(service, 8)
        second = scrape(service.url, None)
        done = run_vinocast("top", "--once", "--url", f"{service.url}/", "--interval", "0.2")
    text = page(tables(first, Scrape(first.moment + 4.0, second.samples)))
    assert ["forecast", "answered", "2.0", "11"] in rows(text, "requests")
    assert ["forecast", "invalid_shape", "0.2", "2"] in rows(text, "requests")
    (times,) = [each for each in rows(text, "times in ms") if each[0] == "forecast"]
    total, total_99, queue, queue_99, inference, inference_99 = map(float, times[1:])
    assert 0 < total <= total_99
    assert 0 < queue <= queue_99
    assert 0 < inference <= inference_99
    assert [MODEL, "ready", "1"] in rows(text, "models")
    # The command itself: nobody asked meanwhile.
    assert (done.returncode, done.stderr) == (0, "")
    assert ["forecast", "answered", "0.0", "11"] in rows(done.stdout, "requests")
    assert ["forecast", *"------"] in rows(done.stdout, "times in ms")
    held = {" ".join(each[:-2]): each[-2:] for each in rows(done.stdout, "held")}
    assert held["streams"] == ["0", "-"]
    assert held["series that wait"][0] == "0"
    assert held["series that wait"][1] == "4,096"
    # A service that was started anew has counted from nothing.
    fallen = page(tables(second, Scrape(second.moment + 4.0, first.samples)))
    assert ["forecast", "answered", "0.8", "3"] in rows(fallen, "requests")


@pytest.mark.parametrize(("share", "seconds"), [(0.25, 0.5), (0.5, 1.0), (0.75, 1.5), (0.99, math.inf)])
def test_a_quantile_is_even_within_its_bucket(share: float, seconds: float) -> None:
    assert quantile({1.0: 50.0, 2.0: 100.0 - 2.0, math.inf: 100.0}, share) == pytest.approx(seconds, rel=0.05)
    assert quantile({1.0: 0.0, math.inf: 0.0}, share) is None


def test_what_is_no_service_is_told_in_a_sentence(run_vinocast: RunVinocast) -> None:
    with HTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as stranger:
        url = f"http://127.0.0.1:{stranger.server_port}"
        threading.Thread(target=stranger.serve_forever, daemon=True).start()
        other = run_vinocast("top", "--once", "--url", url)
        stranger.shutdown()
    nobody = run_vinocast("top", "--once", "--url", url)
    assert (other.returncode, nobody.returncode) == (1, 1)
    assert other.stderr == f"vinocast: {url}/metrics answers 404: so it is no Vinocast, or none for us\n"
    assert nobody.stderr.startswith(f"vinocast: {url}: no service answers ([Errno 111] Connection refused)")
    assert run_vinocast("top", "--url", url).stderr.startswith("vinocast: this is no terminal: --once ")


def test_a_service_with_a_token_is_watched_with_it(run_vinocast: RunVinocast) -> None:
    token = {"VINOCAST_TOKEN": "a-token-of-sixteen-or-more"}
    with HttpService(env=token) as service:
        with pytest.raises(Exception, match="answers 401: name its token with --token-file"):
            scrape(service.url, None)
        assert scrape(service.url, token["VINOCAST_TOKEN"].encode()).samples


def test_the_screen_follows_a_service_and_says_when_it_is_gone() -> None:
    async def watch(service: HttpService) -> None:
        app = Screen(service.url, None, 0.2, scrape(service.url, None))
        async with app.run_test(size=(120, 50)) as pilot:

            def cells() -> list[str]:
                each = [table.get_row_at(place) for table in app.query(DataTable) for place in range(table.row_count)]
                return [str(cell) for row in each for cell in row]

            async def until(word: str) -> None:
                async with asyncio.timeout(60):
                    while word not in [*cells(), *str(app.query_one("#state", Static).render()).split()]:
                        await pilot.pause(0.1)

            assert MODEL in cells()
            assert "invalid_shape" not in cells()
            await asyncio.to_thread(ask, service, 3)
            await until("invalid_shape")
            service.process.terminate()
            await until("answers")
            assert "invalid_shape" in cells()  # what was last known stays
            await pilot.press("q")
        assert app.return_code == 0

    with HttpService() as service:
        asyncio.run(watch(service))
