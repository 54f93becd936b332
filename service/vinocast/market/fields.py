"""The fields of a raw message: numbers that are written as text, trade ids, times, names of products."""

from __future__ import annotations

import re
from typing import Any

from vinocast.data.times.days import SECOND
from vinocast.data.times.moment import read_moment
from vinocast.errors import InvalidRequestError, InvalidValueError, RequestError, describe

# Beyond float32 a number could be in no window.
MOST_NUMBER = 3.4028234e38
MOST_ID = 2**63 - 2
# The end of 2261, beyond which no time can be told.
MOST_SECONDS = 9_214_646_399
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}", re.ASCII)
OF_NUMBERS = "0123456789.eE+-"
DIGITS = "0123456789"
DAY_SECONDS = 86_400
HOURS = {f"{hour:02}:": hour * 3600 for hour in range(24)}
MINUTES = {f"{minute:02}:": minute * 60 for minute in range(60)}
SECONDS = {f"{second:02}": second for second in range(60)}
MOST_MINUTES = 4096

_names: set[str] = set()
# By the text before the seconds, and before the hour.
_minutes: dict[str, int] = {}
_days: dict[str, int] = {}


def price_of(value: object, field: str) -> float:
    """Return a price, above 0 and within float32.

    Raises:
        InvalidRequestError: it is neither a text nor a number.
        InvalidValueError: it is no such number.
    """
    number = _number(value)
    if not 0 < number <= MOST_NUMBER:
        raise _refused(value, field, "a number above 0 within float32, as a text", str | int | float)
    return number


def size_of(value: object, field: str) -> float:
    """Return a size or a volume, 0 or more and within float32; raises as :func:`price_of` does."""
    number = _number(value)
    if not 0 <= number <= MOST_NUMBER:
        raise _refused(value, field, "a number of at least 0 within float32, as a text", str | int | float)
    return number


def _number(value: object) -> float:
    """Return a number; -1 for what is none."""
    if type(value) is str:
        if value.strip(OF_NUMBERS):  # float takes more: NaN, spaces, 1_000, digits of other scripts
            return -1.0
    elif type(value) is not float and type(value) is not int:
        return -1.0
    try:
        return float(value)
    except (ValueError, OverflowError):
        return -1.0


def id_of(value: object, field: str) -> int:
    """Return an id or a count, from 0 on; raises as :func:`price_of` does."""
    if type(value) is int:
        if 0 <= value <= MOST_ID:
            return value
    elif type(value) is str and value and len(value) <= 19 and not value.strip(DIGITS) and int(value) <= MOST_ID:
        return int(value)
    raise _refused(value, field, f"a whole number from 0 to {MOST_ID}", str | int)


def name_of(value: object, field: str) -> str:
    """Return the name of a product, which is a part of a stream's.

    Raises:
        InvalidRequestError: it is no text.
        InvalidValueError: it has other characters than a name of a product has, or more.
    """
    if type(value) is str:
        if value in _names:
            return value
        if NAME.fullmatch(value):
            if len(_names) < MOST_MINUTES:
                _names.add(value)
            return value
    raise _refused(value, field, "a product's name: up to 40 letters, digits and . _ -", str)


def seconds_of(value: object, field: str) -> int:
    """Return the whole seconds since 1970 of a time as RFC 3339 writes it, with up to 9 digits of a fraction.

    Raises:
        InvalidRequestError: it is no text.
        InvalidValueError: it is no such time, has no zone, or is before 1970 or after 2261.
    """
    if type(value) is str:
        minute = _minutes.get(value[:17])
        if minute is None:
            minute = _minute_of(value)
        if minute is not None:
            second = SECONDS.get(value[17:19])
            rest = value[19:]
            if second is not None and (rest == "Z" or (rest[-1:] == "Z" and _is_fraction(rest[:-1]))):
                return minute + second
        try:
            moment = read_moment(value)
        except ValueError:
            pass
        else:
            seconds = moment.utc // SECOND
            if moment.form.offset is not None and seconds >= 0:
                if value[-1] == "Z" and value[10] == "T" and value[16:17] == ":":
                    if len(_minutes) >= MOST_MINUTES:
                        _minutes.clear()
                        _days.clear()
                    _minutes[value[:17]] = seconds - seconds % 60
                    _days[value[:11]] = seconds - seconds % DAY_SECONDS
                return seconds
    raise _refused(value, field, "a time as RFC 3339 writes it, from 1970 to 2261", str)


def _minute_of(text: str) -> int | None:
    """Return the seconds of a minute of a day that is known; None where that is not plain to see."""
    day, hour, minute = _days.get(text[:11]), HOURS.get(text[11:14]), MINUTES.get(text[14:17])
    if day is None or hour is None or minute is None or len(_minutes) >= MOST_MINUTES:
        return None
    seconds = _minutes[text[:17]] = day + hour + minute
    return seconds


def _is_fraction(text: str) -> bool:
    return text[0] == "." and 2 <= len(text) <= 10 and not text[1:].strip(DIGITS)


def items_of(holder: dict[str, Any], key: str, path: str) -> list[Any]:
    """Return an array of objects that an object has to have.

    Raises:
        InvalidRequestError: it has none of that name.
    """
    items = holder.get(key)
    if type(items) is not list:
        raise InvalidRequestError(f"{path}{key}: expected an array of objects, got {describe(items)}", f"{path}{key}")
    for index, item in enumerate(items):
        if type(item) is not dict:
            where = f"{path}{key}[{index}]"
            raise InvalidRequestError(f"{where}: expected an object, got {describe(item)}", where)
    return items


def below(error: RequestError, path: str) -> RequestError:
    """Return an error of a field as one of the same field within what stands at a path."""
    return type(error)(path + error.message, f"{path}{error.field}")


def _refused(value: object, field: str, expected: str, kinds: Any) -> RequestError:
    kind = InvalidValueError if isinstance(value, kinds) and not isinstance(value, bool) else InvalidRequestError
    return kind(f"{field}: expected {expected}, got {describe(value)}", field)
