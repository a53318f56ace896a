"""The cost of each host that a program holds open, for 10 to 1,000 hosts."""

from benchmarks.race import Worker
from benchmarks.table import amount

#: seconds for one row
BOUND = 300
COLUMNS = {
    "connect": ("connect", "seconds"),
    "own": ("processor time of this process", "cpu"),
    "check": ("a command", "seconds"),
    "close": ("close", "seconds"),
    "memory": ("memory", "memory"),
    "threads": ("threads", "count"),
    "descriptors": ("descriptors", "count"),
    "left": ("left after closing", "whole"),
}
#: the highest allowed growth of the cost of a host, compared with the fewest hosts
AT_MOST = {"threads": 1, "descriptors": 4, "memory": 200_000}
GROWTH = {"ssh": {"check": 1.2}, "stand-in": {"connect": 1.2, "check": 1.2, "memory": 1.2}}


def measured(sizes, settings):
    """Return a row for each number of hosts: the cost of each host, or the reason why it is missing."""
    rows = []
    for way, counts in (("ssh", sizes.held), ("stand-in", sizes.held_by_stand_in)):
        for count in counts:
            # a fresh process, since memory that is reused would not be counted
            worker = Worker("with_remoto", settings)
            try:
                answer = worker.ask(do="held", on=("name", (way, count)), times=1, bound=BOUND)
            finally:
                worker.close()
            kept = {key: value for key, value in answer.items() if key in COLUMNS or key == "failed"}
            rows.append({"way": way, "hosts": count, **kept})
    return rows


def missed(row, rows):
    """Return the columns in which a row exceeds its limit."""
    # with few hosts, the costs that all hosts share are a large part
    fewest = 20 if row["way"] == "ssh" else 100
    base = next((r for r in rows if r["way"] == row["way"] and r["hosts"] >= fewest and "failed" not in r), row)
    found = {key for key, bound in AT_MOST.items() if row["hosts"] >= fewest and row[key] > bound}
    if row["hosts"] > base["hosts"]:
        found |= {key for key, factor in GROWTH[row["way"]].items() if row[key] > factor * base[key]}
    return found | ({"left"} if row["left"] else set())


def cells(row, rows):
    if "failed" in row:
        return [row["way"], f"{row['hosts']:,}", f"failed: {row['failed']}"]
    bad = missed(row, rows)
    marked = {key: " MISSED" if key in bad else "" for key in COLUMNS}
    return [
        row["way"],
        f"{row['hosts']:,}",
        *(_amount(row[key], quantity) + marked[key] for key, (_, quantity) in COLUMNS.items()),
    ]


def _amount(value, quantity):
    if quantity == "count":
        return f"{value:.2f}"
    return f"{value:g}" if quantity == "whole" else amount(value, quantity)


def headings():
    return ["over", "hosts", *(title for title, _ in COLUMNS.values())]


def text(rows):
    """Return the lines of a table of the cost of each host held open."""
    table = [headings(), *(cells(row, rows) for row in rows)]
    widths = [max(len(row[column]) for row in table if column < len(row)) for column in range(len(table[0]))]
    yield "Held open, for each host:"
    for row in table:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()


def rst(rows):
    """Return the same table in reStructuredText."""
    lines = ["Hosts held open", "~" * 15, "", "For each host:", "", ".. csv-table::", "   :header-rows: 1", ""]
    lines += ["   " + ", ".join(f'"{cell}"' for cell in row) for row in (headings(), *(cells(r, rows) for r in rows))]
    return "\n".join([*lines, ""])
