"""The chart of docs/scale.rst, made from the figures beside it."""

import json
from pathlib import Path

import matplotlib.pyplot as plt

# Sphinx runs this in its directory
found = json.loads(Path("benchmarks-many.json").read_text("utf-8"))
rows = [row for row in found["held"] if row["way"] == "stand-in"]
hosts = [row["hosts"] for row in rows]

_, (times, memory) = plt.subplots(1, 2, figsize=(9, 3.5))
for key, name in (("connect", "connect"), ("close", "close"), ("own", "connect: this process"), ("check", "a command")):
    times.plot(hosts, [row[key] * 1e3 for row in rows], marker="o", label=name)
times.set_yscale("log")
times.set_ylim(1, 300)
times.set_yticks([1, 10, 100], ["1", "10", "100"])
times.set_ylabel("ms for each host")
memory.plot(hosts, [row["memory"] / 1e6 for row in rows], marker="o", label="memory")
memory.set_ylim(0, 0.25)
memory.set_ylabel("MB for each host")
for axes in (times, memory):
    axes.set_xscale("log")
    axes.set_xticks(hosts, [f"{count:,}" for count in hosts])
    axes.set_xticks([], minor=True)
    axes.set_xlabel("hosts held open")
    axes.grid(linewidth=0.3)
    axes.legend(frameon=False, loc="upper right", ncol=2)
plt.tight_layout()
