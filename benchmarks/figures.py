"""A figure: something, and what it is compared with, measured in turn."""

import statistics
import time
from typing import NamedTuple


class Figure(NamedTuple):
    name: str
    #: seconds, or whatever ``unit`` says; medians
    value: float
    compared: float
    compared_with: str
    #: value / compared may be this at most
    limit: float
    unit: str = "s"

    @property
    def ratio(self):
        return self.value / self.compared


def seconds(function):
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def in_turn(repeats, *functions):
    """The median seconds of each; they take turns, so that a slow moment of the machine hits all of them."""
    for function in functions:
        function()
    times = [[seconds(function) for function in functions] for _ in range(repeats)]
    return [statistics.median(column) for column in zip(*times)]


def table(figures):
    rows = [("", "remoto", "compared", "ratio", "limit", "", "with")]
    for figure in figures:
        scale, unit = (1000, "ms") if figure.unit == "s" and figure.compared < 1 else (1, figure.unit)
        rows.append(
            (
                figure.name,
                f"{figure.value * scale:.4g} {unit}",
                f"{figure.compared * scale:.4g} {unit}",
                f"{figure.ratio:.3g}",
                f"{figure.limit:g}",
                "" if figure.ratio <= figure.limit else "MISSED",
                figure.compared_with,
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows)
