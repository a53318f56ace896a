"""usage: python -m benchmarks [--short] [--output FOLDER]

What remoto costs, beside the limit (what the same work costs without any library) and what a user would pick instead.
All of them take turns in one run; a figure is a median. It starts an sshd and a Docker engine of its own, as the tests
do, and needs root for that; the other libraries are installed from the package registry into environments of their
own.

The exit status is 1 if something failed; that a time is longer than it should be is said in the table.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

from benchmarks.figures import SHORT, Sizes, works
from benchmarks.race import run
from benchmarks.servers import CONTAINER, servers, settings
from benchmarks.table import table, tables


def main():
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--short", action="store_true", help="see that it works; the figures mean little")
    parser.add_argument("--output", metavar="FOLDER", type=Path, help="write benchmarks.json and its tables there")
    options = parser.parse_args()
    sizes = SHORT if options.short else Sizes()
    with servers() as (sshd, link), settings(sshd, link, sizes) as told:
        versions, figures = run(works(sizes, CONTAINER), told, (sshd.slow_link, link), options.short)
    if options.output:
        found = {"machine": machine(), "versions": versions, "figures": figures}
        (options.output / "benchmarks.json").write_text(json.dumps(found, indent=1) + "\n")
    text = table(versions, figures)
    print(text)
    if options.output:
        (options.output / "benchmarks-tables.inc").write_text(tables(versions, figures))
    return int(any("failed" in reason for figure in figures for reason in figure["reasons"].values()))


def machine():
    return {
        "python": platform.python_version(),
        "processors": os.cpu_count(),
        "system": platform.platform(),
        # it says so on stderr
        "openssh": subprocess.run(["ssh", "-V"], stderr=subprocess.PIPE, text=True, check=True).stderr.strip(),
    }


if __name__ == "__main__":
    sys.exit(main())
