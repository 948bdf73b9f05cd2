"""docs/changepoints.md: its examples say what they print, and it leaves out no cost."""

import doctest
from pathlib import Path

import pytest

import phaseflow as pf
import phaseflow.exceptions

PAGE = Path(__file__).parents[2] / "docs" / "changepoints.md"


def test_every_example_prints_what_the_page_says():
    failed, tried = doctest.testfile(str(PAGE), module_relative=False)
    assert tried > 8
    assert failed == 0


def test_every_cost_has_its_line():
    with pytest.raises(pf.exceptions.UnknownNameError) as refused:
        pf.detect([0.0, 1.0], cost="none such")
    known = str(refused.value).split("known: ")[1].split(", ")
    lines = [line.split("|")[2] for line in PAGE.read_text().splitlines() if line.startswith("| ") and "`" in line]
    assert {cost for cost in known if not any(f"`{cost}`" in line for line in lines)} == set()
