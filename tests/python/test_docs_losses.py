"""docs/losses.md: its examples say what they print."""

import doctest
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "losses.md"


def test_every_example_prints_what_the_page_says():
    failed, tried = doctest.testfile(str(PAGE), module_relative=False)
    assert tried > 12
    assert failed == 0
