"""The figures as text."""

TITLES = {"with_remoto": "remoto", "without": "limit"}


def title(contestant, versions):
    name = contestant.replace("with_old_", "").replace("with_", "").replace("_", "-")
    return TITLES.get(contestant, f"{name} {versions[contestant]}")


def amount(value, quantity):
    if quantity in ("seconds", "cpu"):
        return f"{value:.3g} s" if value >= 1 else f"{value * 1e3:.3g} ms"
    if quantity == "memory":
        return f"{value / 1e6:.3g} MB"
    return f"{value:g}" if value < 10 else f"{value:,.0f}"


def cell(figure, contestant):
    value = figure["values"].get(contestant)
    if value is None:
        return "failed" if "failed" in figure["reasons"].get(contestant, ()) else "-"
    text = amount(value, figure["quantity"])
    mine = figure["values"].get("with_remoto")
    if contestant == "with_remoto" or not mine:
        return text
    ahead = ", ahead" if is_ahead(figure, contestant) else ""
    return f"{text} ({value / mine:.2g}x{ahead})"


def is_ahead(figure, contestant):
    """Return True if a peer needs over 5 % less than remoto, which is more than noise."""
    return contestant != "without" and figure["values"][contestant] < 0.95 * figure["values"]["with_remoto"]


def exceeds(figure):
    return figure["values"].get("with_remoto", 0) > figure["at_most"]


def bound(figure):
    if figure["at_most"] is None:
        return ""
    return amount(figure["at_most"], figure["quantity"]) + (" MISSED" if exceeds(figure) else "")


def table(versions, figures):
    """Return a line for each figure, and an explanation below."""
    contestants = [contestant for contestant in versions if contestant != "with_remoto"]
    rows = [("", "remoto", "at most", *(title(contestant, versions) for contestant in contestants))]
    for figure in figures:
        cells = [cell(figure, contestant) for contestant in contestants]
        rows.append((figure["name"], cell(figure, "with_remoto"), bound(figure), *cells))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths)).rstrip() for row in rows]
    return "\n".join([*lines, "", *limits(figures), "", *reasons(versions, figures)])


def limits(figures):
    yield "The limit:"
    for figure in figures:
        if figure["limit"] and figure["limit"] != "the same":
            yield f"  {figure['full_name']}: {figure['limit']}"


def reasons(versions, figures):
    yield "Not there, or failed:"
    lacking = {}
    for figure in figures:
        work = figure["full_name"].partition(": ")[0]
        for contestant, reason in figure["reasons"].items():
            line = f"  {title(contestant, versions)}: {reason.get('missing') or 'failed: ' + reason['failed']}"
            works = lacking.setdefault(line, [])
            if work not in works:
                works.append(work)
    for line, works in lacking.items():
        yield f"{line} ({'; '.join(works)})"


def tables(versions, figures):
    """Return reStructuredText: a section for each work, with a row for each contestant and a column for each figure."""
    parts = []
    for work in grouped(figures):
        name = work[0]["name"]
        parts += [name[0].upper() + name[1:], "~" * len(name), ""]
        if work[0]["limit"]:
            parts += [f"The limit is: {work[0]['limit']}.", ""]
        parts += [".. csv-table::", "   :header-rows: 1", ""]
        parts += [_csv("", *(column(figure) for figure in work))]
        for contestant in versions:
            if any(contestant in figure["values"] for figure in work):
                parts.append(_csv(title(contestant, versions), *(cell(figure, contestant) for figure in work)))
        if any(figure["at_most"] for figure in work):
            parts.append(_csv("our target", *map(bound, work)))
        parts.append("")
        for contestant, reason in work[0]["reasons"].items():
            text = reason.get("missing") or "failed: " + reason["failed"]
            parts += [f"- {title(contestant, versions)}: {text}."]
        parts.append("")
    return "\n".join(parts)


def grouped(figures):
    """Return lists of figures. Indented figures belong to the one above them."""
    groups = []
    for figure in figures:
        if figure["name"].startswith("  "):
            groups[-1].append(figure)
        else:
            groups.append([figure])
    return groups


def column(figure):
    return figure["name"].strip() if figure["name"].startswith("  ") else "time"


def _csv(*cells):
    return "   " + ", ".join('"{}"'.format(cell.replace('"', '""')) for cell in cells)
