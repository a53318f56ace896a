"""usage: python -m benchmarks [--short] [--only PART] [--output FOLDER]

Compare remoto with the limit (the same work without any library) and with other libraries. All of them take turns in
one run; a figure is a median. This starts its own sshd, Docker engine and Kubernetes API server, as the tests do, which
needs root and kubectl. The other libraries are installed from the package registry, each into its own environment.

The exit status is 1 if something failed. Missed limits are marked in the tables only.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

from benchmarks import host_cost
from benchmarks.environments import FLEET
from benchmarks.figures import SHORT, Sizes, fleet_works, works
from benchmarks.race import run
from benchmarks.servers import CONTAINER, POD, servers, settings
from benchmarks.table import table, tables


def main():
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--short", action="store_true", help="see that it works; the figures mean little")
    parser.add_argument("--only", choices=["one", "many"], help="measure one host only, or many hosts only")
    parser.add_argument("--output", metavar="FOLDER", type=Path, help="write the figures and their tables there")
    options = parser.parse_args()
    sizes = SHORT if options.short else Sizes()
    failed = False
    with servers() as (sshd, link), settings(sshd, link, sizes) as config:
        links = (sshd.slow_link, link)
        if options.only != "many":
            versions, figures = run(works(sizes, CONTAINER, POD), config, links, options.short)
            failed |= report("benchmarks", versions, figures, options.output)
        if options.only != "one":
            versions, figures = run(fleet_works(sizes), config, links, options.short, FLEET)
            rows = host_cost.measured(sizes, config)
            failed |= report("benchmarks-many", versions, figures, options.output, rows)
    return int(failed)


def report(name, versions, figures, directory, rows=()):
    """Print figures, and write them to a directory if there is one. Return True if remoto or a peer failed.

    :param rows: the rows for hosts held open.
    """
    print(table(versions, figures))
    if rows:
        print("\n".join(["", *host_cost.text(rows)]))
    if directory:
        found = {"machine": machine(), "versions": versions, "figures": figures, **({"held": rows} if rows else {})}
        (directory / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")
        (directory / f"{name}-tables.inc").write_text(tables(versions, figures) + (host_cost.rst(rows) if rows else ""))
    reasons = [reason for figure in figures for reason in figure["reasons"].values()]
    return any("failed" in reason for reason in [*reasons, *rows])


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
