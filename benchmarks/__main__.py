"""usage: python -m benchmarks [--short] [--json FILE]

What remoto costs, beside what the same work costs without it, measured in turn in one run: a ratio of medians. It starts
an sshd and a Docker engine of its own, as the tests do, and needs root for that.
"""

import argparse
import json
import sys

from benchmarks import commands, containers, files, functions
from benchmarks.figures import table
from benchmarks.servers import servers


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--short", action="store_true", help="see that it works; the figures mean little")
    parser.add_argument("--json", metavar="FILE", help="write the figures there as well")
    options = parser.parse_args()
    repeats = 3 if options.short else 25
    figures = []
    with servers():
        for measure in (*commands.MEASURES, *functions.MEASURES, *containers.MEASURES, *files.MEASURES):
            figures.append(measure(repeats))
            print(f"{measure.__name__} ...", file=sys.stderr)
    print(table(figures))
    if options.json:
        with open(options.json, "w") as file:
            json.dump([figure._asdict() for figure in figures], file, indent=1)


if __name__ == "__main__":
    main()
