"""remoto/remote/json_call.py writes simple answers itself, and leaves others to the json module."""

import json
import math

import pytest

from remoto.remote.json_call import NeedsJson, plain

SIMPLE = [None, True, 0, -1, 10**30, 1.5, -0.0, 1e300, "", "a b", [], ["a", [1, None]], {}, {"a": {"b": [1.5, False]}}]
OTHERS = [
    "\u00e4",
    "\n",
    '"',
    "\\",
    "\x7f",
    "x" * 1000,
    math.inf,
    math.nan,
    [math.nan],
    {1: 2},
    {"a": "\n"},
    {"\n": 1},
    b"",
]


@pytest.mark.parametrize("value", SIMPLE, ids=repr)
def test_simple_answer_is_the_json_of_the_value(value):
    assert plain(value) == json.dumps(value)


@pytest.mark.parametrize("value", OTHERS, ids=repr)
def test_other_answers_need_the_json_module(value):
    with pytest.raises(NeedsJson):
        plain(value)
