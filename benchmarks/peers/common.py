"""Code shared by the contestants. It uses only the standard library, since it runs in every environment."""

import logging
import os
import statistics
import subprocess
import sys

#: filled by the worker
settings = {}


def quiet():
    """Return a logger that formats all records and writes them to /dev/null."""
    logger = logging.getLogger("benchmark")
    if not logger.handlers:
        logger.propagate = False
        logger.setLevel(logging.DEBUG)
        logger.addHandler(logging.StreamHandler(open(os.devnull, "w")))
    return logger


def fleet_names(kind):
    return [f"{kind}{number}" for number in range(settings["fleet"]["hosts"])]


def import_time(module):
    """Return the seconds that a new interpreter needs to import a module."""
    code = f"import time; begun = time.perf_counter(); import {module}; print(time.perf_counter() - begun)"
    # not from this directory
    runs = [
        subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True, cwd=settings["new"])
        for _ in range(3)
    ]
    return statistics.median(float(done.stdout) for done in runs)
