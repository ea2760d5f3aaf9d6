"""Numbers as text for people: nothing else in the package formats a number that somebody reads. And
texts of others as pages, terminals and spreadsheets may show them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import datetime

DASH = "–"
"""Stands where nothing was measured."""

NOT_SURE = "not sure"
"""The answer where no genre is named, because it would be wrong too often."""

_FORMULA = re.compile("'*[=+\\-@\\t\\r\\n＝＋－＠]")  # as spreadsheets begin one, quoted or not
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029\u202a-\u202e\u2066-\u2069]"
)
"""Control characters but tabs and ends of lines, halves of characters, and changes of direction."""
_SIGNED_NUMBER = re.compile(r"[+-][\d.,]+( ?[%\w]+)?")


def decimals(value: float, n: int = 1, sign: bool = False) -> str:
    """A number with `n` decimals, halves rounded up, thousands separated: `1,234.5`, `−0.9`."""
    if not math.isfinite(value):
        return DASH
    # `round(…, 9)` first: 100 * 0.285 is 28.499999999999996, and means 28.5.
    rounded = math.floor(round(abs(value) * 10**n, 9) + 0.5) / 10**n
    text = f"{math.copysign(rounded, value) if rounded else 0.0:{'+' if sign else ''},.{n}f}"
    return text.replace("-", "−")


def percent(share: float | None) -> str:
    """A share as per cent with one decimal: 0.8125 is `81.3 %`."""
    text = DASH if share is None else decimals(100 * share)
    return text if text == DASH else f"{text} %"


def points(share: float, sign: bool = False) -> str:
    """A difference of shares in percentage points: `3.1 points`, `1.0 point`, `−0.9 points`."""
    text = decimals(100 * share, sign=sign)
    return f"{text} point{'' if text.strip('+−') == '1.0' else 's'}"


def signed_points(share: float) -> str:
    """A difference of shares in percentage points as a bare number with its sign: `+3.1`."""
    return decimals(100 * share, sign=True)


def moved(before: float, after: float, written: Callable[[float], str]) -> str:
    """How a number changed, as it is read: `falls from 9.6 % to 7.8 %`, `stays at 7.8 %`."""
    first, last = written(before), written(after)
    if first == last:
        return f"stays at {last}"
    return f"{'rises' if after > before else 'falls'} from {first} to {last}"


def beside(difference: float, other: str) -> str:
    """A difference of shares against something: `3.1 points above B`, `level with B`."""
    apart = points(abs(difference))
    if apart == points(0.0):
        return f"level with {other}"
    return f"{apart} {'above' if difference > 0 else 'below'} {other}"


def p_value(p: float) -> str:
    """A p-value: `p = 0.14`, `p < 0.0001`."""
    if not math.isfinite(p):
        return f"p = {DASH}"
    return f"p = {p:.2g}" if p >= 0.0001 else "p < 0.0001"


def thousands(value: float) -> str:
    """A count, or a number rounded to one, with commas: `287,792`."""
    return decimals(value, 0)


def short_number(number: int | None) -> str:
    """A number in three digits and a letter: `11.2 M`, `288 k`, `1.81 G`."""
    if number is None:
        return DASH
    for unit, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= 0.9995 * unit:
            value = number / unit
            return f"{decimals(value, 2 if value < 9.995 else 1 if value < 99.95 else 0)} {letter}"
    return str(number)


def out_of(n: int, total: int) -> str:
    """`3 of 1,200`."""
    return f"{thousands(n)} of {thousands(total)}"


def plural(n: int, noun: str, nouns: str = "") -> str:
    """A count with its noun: `1 clip`, `1,200 clips`; `nouns` where adding an `s` is not enough."""
    return f"{thousands(n)} {noun if n == 1 else nouns or noun + 's'}"


def seconds(value: float | None) -> str:
    """A duration: `0.4 s`, `12 s`, `3 min 05 s`, `2 h 07 min`."""
    if value is None or not math.isfinite(value):
        return DASH
    if value < 59.5:
        return f"{decimals(max(0.0, value), 1 if 0 < value < 9.95 else 0)} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{thousands(minutes // 60)} h {minutes % 60:02d} min"


def milliseconds(value: float) -> str:
    """A short duration: `3.2 ms`, `189 ms`, `1.0 s`."""
    if value >= 999.5:
        return f"{decimals(value / 1000, 1 if value < 9_995 else 0)} s"
    return f"{decimals(value, 1 if value < 9.95 else 0)} ms"


def clock(value: float) -> str:
    """A position in a recording: `1:05`."""
    return f"{int(value // 60)}:{int(value % 60):02d}"


def size(n_bytes: float) -> str:
    """A number of bytes in decimal units: `3.2 GB`, `12 MB`, `4 kB`, `512 bytes`."""
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if n_bytes >= 0.9995 * unit:
            value = n_bytes / unit
            return f"{decimals(value, 1 if value < 9.95 else 0)} {name}"
    return plural(round(n_bytes), "byte")


def moment(seconds_since_1970: float) -> str:
    """A moment as date and time in the local time zone: `28 Nov 2026, 21:04`."""
    if not seconds_since_1970:
        return DASH
    return datetime.fromtimestamp(seconds_since_1970).strftime("%d %b %Y, %H:%M")


def listed(names: list[str] | tuple[str, ...], last: str = "and", most: int | None = None) -> str:
    """`rock`, `rock and pop`, `rock, pop and folk`; of more than `most` names, the first ones and
    how many others: `rock, pop and 7 others`."""
    if most is not None and len(names) > most:
        names = [*names[: most - 1], f"{len(names) - most + 1} others"]
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} {last} {names[-1]}"


def visible(text: str, instead: str = "") -> str:
    """A text of others without what nobody can see, such as the commands of a terminal.

    Args:
        text: Of any number of lines.
        instead: Stands in the place of each such character; by default its escape, `\\x1b`.
    """
    return _UNSEEN.sub(lambda seen: instead or ascii(seen.group())[1:-1], text)


def visible_line(text: str, instead: str = "") -> str:
    """As `visible`, in one line."""
    text = visible(text, instead)
    return text.replace("\n", instead or "\\n").replace("\t", instead or "\\t")


def sheet_text(text: str) -> str:
    """A name as a cell that no spreadsheet takes for a formula: `'=name`. Numbers stay."""
    if not _FORMULA.match(text) or _SIGNED_NUMBER.fullmatch(text):
        return text
    return f"'{text}"


def from_sheet_text(cell: str) -> str:
    """The name of which `sheet_text` made this cell."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def uncapitalised(text: str) -> str:
    """A title or a sentence as it stands inside another one: `top-2 accuracy`, but `ROC AUC`."""
    is_a_word = text[1:2].islower() or text[1:2].isspace()
    return text[:1].lower() + text[1:] if is_a_word else text
