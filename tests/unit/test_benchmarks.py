"""The benchmarks' table says where something is wrong."""

import pytest

from benchmarks.table import table

VERSIONS = {"with_remoto": "2.0.0", "without": "2.1.2", "with_old_remoto": "1.2.1", "with_fabric": "3.2.3"}


def figure(remoto, limit, fabric, at_most=None, quantity="seconds"):
    values = {"with_remoto": remoto, "without": limit, "with_fabric": fabric}
    reasons = {"with_old_remoto": {"missing": "it has no such thing"}}
    return {
        "name": "some work",
        "quantity": quantity,
        "values": values,
        "limit": "work without a library",
        "at_most": at_most,
        "reasons": reasons,
    }


def test_each_contestant_has_its_ratio():
    line = table(VERSIONS, [figure(0.002, 0.001, 0.006, at_most=0.003)]).splitlines()[1]
    assert line.split("  ")[0] == "some work"
    for text in ("2 ms", "3 ms", "1 ms (0.5x)", "6 ms (3x)"):
        assert text in line
    assert "ahead" not in line and "MISSED" not in line


def test_a_peer_that_is_ahead_is_said_to_be():
    text = table(VERSIONS, [figure(2, 1, 1.5)])
    assert "1.5 s (0.75x, ahead)" in text
    assert "1 s (0.5x)" in text, "the limit is always ahead"


def test_a_bound_that_is_missed_is_said_to_be():
    assert "1.5 s MISSED" in table(VERSIONS, [figure(2, 1, 3, at_most=1.5)])


def test_what_is_not_there_has_its_reason():
    text = table(VERSIONS, [figure(2, 1, 3)] * 2)
    assert text.count("  remoto 1.2.1: it has no such thing") == 1


def test_what_failed_has_its_error():
    failing = figure(2, 1, 3)
    failing["reasons"] = {"with_old_remoto": {"failed": "OSError: no"}}
    text = table(VERSIONS, [failing])
    assert "failed" in text.splitlines()[1]
    assert "  remoto 1.2.1: failed: OSError: no" in text


@pytest.mark.parametrize(
    "value, quantity, words",
    [(64e6, "memory", "64 MB"), (1, "trips", "1"), (51234, "bytes", "51,234"), (0, "processes", "0")],
)
def test_quantities_have_their_units(value, quantity, words):
    assert words in table(VERSIONS, [figure(value, value, value, quantity=quantity)]).splitlines()[1]
