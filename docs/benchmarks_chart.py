"""The chart of docs/benchmarks.rst, made from the figures beside it."""

import json
from pathlib import Path

import matplotlib.pyplot as plt

# Sphinx runs this in its directory
found = json.loads(Path("benchmarks.json").read_text("utf-8"))
figures = [f for f in found["figures"] if f["quantity"] == "seconds" and "with_remoto" in f["values"]]
names = {"without": "the limit", "with_old_remoto": "remoto 1.2.1"}
markers = dict(zip((c for c in found["versions"] if c != "with_remoto"), "|sovD^"))

_, axes = plt.subplots(figsize=(9, 6))
axes.axvline(1, color="black", linewidth=1, label="remoto")
for contestant, marker in markers.items():
    points = [
        (figure["values"][contestant] / figure["values"]["with_remoto"], -row)
        for row, figure in enumerate(figures)
        if contestant in figure["values"]
    ]
    name = names.get(contestant, contestant.replace("with_", "").replace("_", "-"))
    style = {"s": 160, "color": "black"} if contestant == "without" else {"s": 40, "alpha": 0.8}
    axes.scatter(*zip(*points), marker=marker, label=name, **style)
axes.set_xscale("log")
axes.xaxis.set_major_formatter(lambda value, position: f"{value:g}x")
axes.set_xlabel("time, as a multiple of remoto's")
axes.set_yticks([-row for row in range(len(figures))], [figure["full_name"] for figure in figures])
axes.grid(axis="y", linewidth=0.3)
axes.legend(loc="upper center", bbox_to_anchor=(0.4, -0.12), ncol=4, frameon=False)
plt.tight_layout()
