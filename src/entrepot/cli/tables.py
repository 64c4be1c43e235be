"""Tables as docker prints them: Go's ``tabwriter`` with cells of at least 10 columns, 3 of them blank."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_MIN_WIDTH = 10
_PADDING = 3


def format_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Header and rows in columns, one a line, with a newline at the end.

    What would break a line or a column, or speak to the terminal, is made harmless (``plain_cell``).
    """
    lines = [list(header), *([plain_cell(cell) for cell in row] for row in rows)]
    return align_lines(lines)


def align(text: str) -> str:
    """``text`` with the tabs in each of its lines replaced by blanks, so that columns stand below each other."""
    return align_lines([line.split("\t") for line in text.split("\n")])[:-1]


def align_lines(lines: Sequence[Sequence[str]]) -> str:
    """Every cell but a line's last is padded to the width of its column.

    A column is a run of lines that have such a cell there; a line without one begins a new column.
    """
    widths = [[0] * (len(cells) - 1) for cells in lines]
    waiting = [(range(len(lines)), 0)]
    while waiting:
        run, column = waiting.pop()
        for part in _runs(widths, run, column):
            _set_width(lines, widths, part, column)
            waiting.append((part, column + 1))
    return "".join(_format_line(cells, columns) + "\n" for cells, columns in zip(lines, widths, strict=True))


def plain_cell(text: str) -> str:
    """``text`` with tabs and newlines as blanks, and whatever else would steer the terminal as ``?``."""
    if text.isprintable():
        return text
    return "".join(" " if char in "\t\n\r" else char if _is_harmless(char) else "?" for char in text)


def _is_harmless(char: str) -> bool:
    code = ord(char)
    return not (code < 0x20 or 0x7F <= code < 0xA0 or 0xD800 <= code < 0xE000)


def _set_width(lines: Sequence[Sequence[str]], widths: list[list[int]], run: range, column: int) -> None:
    width = max(_MIN_WIDTH, *(len(lines[index][column]) + _PADDING for index in run))
    for index in run:
        widths[index][column] = width


def _runs(widths: Sequence[Sequence[int]], run: range, column: int) -> list[range]:
    """The parts of ``run`` whose lines have a padded cell in ``column``."""
    parts, start = [], None
    for index in run:
        if len(widths[index]) > column:
            start = index if start is None else start
        elif start is not None:
            parts.append(range(start, index))
            start = None
    return parts if start is None else [*parts, range(start, run.stop)]


def _format_line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=False))
    return "".join(padded) + (cells[-1] if cells else "")
