"""The screen of ``vinocast top``, by textual."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.app import App
from textual.containers import VerticalScroll
from textual.widgets import DataTable, Footer, Static

from vinocast.errors import SetupError
from vinocast.top.scrapes import scrape
from vinocast.top.tables import tables

if TYPE_CHECKING:
    from textual.app import ComposeResult
    from textual.binding import BindingType

    from vinocast.top.scrapes import Scrape

__all__ = ["Screen"]


class Screen(App[None]):
    """Shows the tables of a service, and asks for them anew as often as it is told to.

    Args:
        url: where the service listens.
        token: of the service, where it has one.
        interval: seconds from a reply to the next question.
        first: what the service has told before.
    """

    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [("q", "quit", "Quit")]
    CSS = "DataTable { height: auto; margin-bottom: 1; } .title { text-style: bold; }"

    def __init__(self, url: str, token: bytes | None, interval: float, first: Scrape) -> None:
        super().__init__()
        self._url, self._token, self._interval = url, token, interval
        self._last = first

    def compose(self) -> ComposeResult:
        """Lay out a line of what is watched, and a table under each title."""
        yield Static(id="state", markup=False)
        with VerticalScroll():
            for place, table in enumerate(tables(self._last, self._last)):
                yield Static(table.title, classes="title", markup=False)
                # A name is shown as it is: brackets in it are none of the screen's.
                widget: DataTable[Text] = DataTable(id=f"table{place}", show_cursor=False)
                widget.can_focus = False
                widget.add_columns(*table.columns)
                yield widget
        yield Footer()

    def on_mount(self) -> None:
        """Show what was told, and begin to ask."""
        self._show(self._last)
        self.run_worker(self._watch())

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            try:
                now = await asyncio.to_thread(scrape, self._url, self._token)
            except SetupError as error:
                self._say(str(error))
            else:
                self._show(now)

    def _show(self, now: Scrape) -> None:
        self._say(f"{self._url}: asked every {self._interval:g} s")
        for place, table in enumerate(tables(self._last, now)):
            widget = self.query_one(f"#table{place}", DataTable)
            widget.clear()
            for row in table.rows:
                widget.add_row(*(Text(cell, justify="right" if column else "left") for column, cell in enumerate(row)))
        self._last = now

    def _say(self, text: str) -> None:
        self.query_one("#state", Static).update(text)
