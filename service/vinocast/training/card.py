"""The card of a model that was trained here: what it is, how it came about, and how it compares, in Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from vinocast.data.splits import SPLITS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from vinocast.data.splits import Dataset
    from vinocast.evaluation.accuracy import Accuracy, Figures, Scores
    from vinocast.forecast.manifest import ForecasterManifest

CARD_FILE = "README.md"
# Tables by column have at most so many rows.
MOST_COLUMNS = 50
FIGURES: tuple[Literal["mse", "mae"], ...] = ("mse", "mae")


class Loss(NamedTuple):
    """Where another forecasts better than the model."""

    column: str | None
    figure: Literal["mse", "mae"]
    forecaster: str
    theirs: float
    ours: float


def losses(scores: Sequence[Scores]) -> list[Loss]:
    """Return where others are better than the first, over all columns and by column; the best of them first."""
    own, *others = scores
    found = []
    for column in (None, *own.columns):
        for figure in FIGURES:
            ours = float(getattr(_of(own, column), figure))
            better = [(float(getattr(_of(each, column), figure)), each.forecaster) for each in others]
            found += [Loss(column, figure, name, theirs, ours) for theirs, name in sorted(better) if theirs < ours]
    return found


def write_card(manifest: ForecasterManifest, data: Dataset, record: dict[str, Any], accuracy: Accuracy) -> str:
    """Return the text of a card.

    Args:
        manifest: of the model.
        data: what it was trained on.
        record: what ``train_forecaster`` has returned.
        accuracy: on the test part, the model's own scores first.
    """
    return "\n".join(_lines(manifest, data, record, accuracy)) + "\n"


def _lines(manifest: ForecasterManifest, data: Dataset, record: dict[str, Any], accuracy: Accuracy) -> Iterator[str]:
    scores = accuracy.scores
    yield f"# {manifest.name}"
    yield ""
    yield (
        f"A forecaster of single series, {manifest.context} rows back and {manifest.horizon} ahead, trained by "
        f"`vinocast train forecast` on {data.name}. `vinocast serve --models` takes the folder that holds this one."
    )
    yield from ("", "## Data", "", "| | |", "| --- | --- |")
    yield f"| file | {_cell(data.name)}, sha256 `{data.sha256}` |"
    yield f"| columns | {_named(data.columns)} |"
    for split in SPLITS:
        first, behind = data.targets[split]
        span = f", {' to '.join(data.spans[split])}" if split in data.spans else ""
        yield f"| {split} | rows {first} to {behind - 1}{span} |"
    yield from ("", "Rows are counted from 0, the oldest first. Means, deviations and weights come from the training")
    yield "rows alone; the validation rows choose the step that is kept and calibrate; the test rows decide nothing."
    yield from ("", "## Training", "", "```", str(record["command"]), "```", "")
    yield from _training(record)
    yield from ("", "## On the test rows", "")
    yield f"{accuracy.windows} windows. {accuracy.protocol}. MASE by a season of {accuracy.season} rows."
    yield ""
    yield from _table(scores)
    yield ""
    if scores[0].coverage is None:
        yield "It has no quantiles: there were too few validation rows to measure how sure it is."
    else:
        yield "Its quantiles come from what it erred by on the validation rows."
    yield from ("", "## By column", "")
    yield from _by_column(scores)
    yield from ("", "## Where it loses", "")
    yield from _losses(scores)


def _training(record: dict[str, Any]) -> Iterator[str]:
    best, init = record["best"], record.get("init", {})
    yield (
        f"Step {best['step']} of {record['steps']} was the best on validation: MSE {record['validation']['mse']:.4f}, "
        f"MAE {record['validation']['mae']:.4f} over {record['validation']['windows']} windows."
    )
    if "name" in init:
        yield f"It began with the weights of {init['name']}."
        if best["step"] == 0:
            yield "**Training did not better them, so these are still its weights.**"
    else:
        yield "It began from scratch."


def _table(scores: Sequence[Scores]) -> Iterator[str]:
    intervals = list(scores[0].coverage or {})
    titles = ["MSE", "MAE", "MASE"]
    if intervals:
        titles += ["weighted quantile loss", *(f"in the {interval} band" for interval in intervals)]
    yield f"| | {' | '.join(titles)} |"
    yield f"| --- |{' ---: |' * len(titles)}"
    for index, each in enumerate(scores):
        cells = [f"{each.mse:.4f}", f"{each.mae:.4f}", _number(each.mase)]
        if intervals:
            cells.append(_number(each.wql))
            cells += [f"{each.coverage[interval]:.1%}" if each.coverage else "" for interval in intervals]
        yield f"| {_title(each, index)} | {' | '.join(cells)} |"


def _by_column(scores: Sequence[Scores]) -> Iterator[str]:
    columns = list(scores[0].columns)
    for figure in FIGURES:
        yield f"| {figure.upper()} | {' | '.join(_title(each, index) for index, each in enumerate(scores))} |"
        yield f"| --- |{' ---: |' * len(scores)}"
        for column in columns[:MOST_COLUMNS]:
            values = (f"{getattr(each.columns[column], figure):.4f}" for each in scores)
            yield f"| {_cell(column)} | {' | '.join(values)} |"
        yield ""
    if len(columns) > MOST_COLUMNS:
        yield f"And {len(columns) - MOST_COLUMNS} columns more, in training.json."
        yield ""
    if scores[0].coverage:
        intervals = list(scores[0].coverage)
        yield f"| | weighted quantile loss | {' | '.join(f'in the {interval} band' for interval in intervals)} |"
        yield f"| --- | ---: |{' ---: |' * len(intervals)}"
        for column in columns[:MOST_COLUMNS]:
            figures = scores[0].columns[column]
            shares = (f"{share:.1%}" for share in (figures.coverage or {}).values())
            yield f"| {_cell(column)} | {_number(figures.wql)} | {' | '.join(shares)} |"


def _losses(scores: Sequence[Scores]) -> Iterator[str]:
    found = losses(scores)
    if not found:
        yield "Nowhere on these rows: no other forecast has a lower MSE or MAE, over all columns or in one of them."
    for loss in found[:MOST_COLUMNS]:
        where = f"In {_cell(loss.column)}" if loss.column is not None else "Over all columns"
        worse = f"{loss.ours / loss.theirs - 1:.1%} more" if loss.theirs else "more"
        figures = f"{loss.figure.upper()}: {loss.theirs:.4f}, this {loss.ours:.4f}, {worse}"
        yield f"- {where} {loss.forecaster} has a lower {figures}."
    if len(found) > MOST_COLUMNS:
        yield f"- And {len(found) - MOST_COLUMNS} times more, in training.json."


def _of(scores: Scores, column: str | None) -> Figures:
    return scores if column is None else scores.columns[column]


def _title(scores: Scores, index: int) -> str:
    return "**this model**" if index == 0 else _cell(scores.forecaster)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _named(columns: Sequence[str]) -> str:
    first = ", ".join(_cell(column) for column in columns[:MOST_COLUMNS])
    return first if len(columns) <= MOST_COLUMNS else f"{first} and {len(columns) - MOST_COLUMNS} more"


def _cell(text: str) -> str:
    """Return a text that stands in one cell of a table."""
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")
