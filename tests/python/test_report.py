"""The page: offline, the verdict first, every figure there, nothing lost of what could not be read."""

import re
from pathlib import Path

import pytest

import phaseflow as pf
from phaseflow import schema
from phaseflow.reporting import words
from phaseflow.reporting.page import number


@pytest.fixture(scope="module")
def page(planted: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return pf.report(planted, tmp_path_factory.mktemp("page") / "report.html").read_text()


def test_nothing_is_fetched_when_the_page_is_opened(page: str) -> None:
    assert not re.findall(r"<(?:script|link|img|iframe)[^>]+(?:src|href)\s*=\s*[\"']?(?:https?:)?//", page)


def test_the_verdict_stands_before_every_figure(page: str) -> None:
    body = page[page.index("<body>") :]
    assert (
        body.index("Phase change in 1 of 2 runs")
        < body.index("Phase change between steps")
        < body.index('id="figure-1"')
    )


def test_every_figure_is_there(page: str) -> None:
    for number_, title in enumerate(
        [
            "Loss",
            "In-context learning score",
            "Prefix matching of every head",
            "Where in the context the loss falls",
            "Paths through function space",
            "The breaks that the average hides",
        ],
        start=1,
    ):
        assert f"<h2>{number_}. {title}</h2>" in page


def test_the_typical_tokens_of_a_burst_are_shown_in_their_text(tmp_path: Path) -> None:
    import numpy as np

    rng = np.random.default_rng(0)
    tokens = rng.integers(1, 9, (20, 201))
    vocabulary = {int(token): f"<{token}>" for token in range(1, 9)}
    with pf.Recorder(tmp_path / "run", probes={"text": pf.Probe(tokens, vocabulary=vocabulary)}) as recorder:
        for step in np.unique(np.round(np.geomspace(10, 5000, 60)).astype(int)):
            losses = 4 + rng.normal(0, 0.2, (20, 200))
            losses[:, 30:60] -= 2.0 * (step > 800)
            recorder.log(int(step), per_token_loss={"text": losses})
    html = pf.report(tmp_path, tmp_path / "report.html").read_text()
    assert "<h2>Typical tokens of each burst</h2>" in html
    row = r"<mark>(.*?)</mark><span class=\"behind\">(.*?)</span></td><td><svg .*?</svg></td><td class=\"number\">(\S+) → (\S+)</td>"
    shown = re.findall(row, html)
    assert 1 <= len(shown) <= 4
    for text, behind, before, after in shown:
        assert re.fullmatch(r"&lt;\d&gt;", text)
        assert re.fullmatch(r"(&lt;\d&gt;){6}&lt;\d", behind)  # twenty characters
        assert float(before) - float(after) == pytest.approx(2.0, abs=0.5)


def test_a_late_index_short_of_the_paper_is_said(page: str) -> None:
    assert "the last usable index, 256, stands in" in page


def test_the_command_that_reproduces_it_is_named(page: str, planted: Path) -> None:
    assert f"phaseflow report {planted}" in page


def test_text_from_an_archive_cannot_become_markup(tmp_path: Path) -> None:
    import numpy as np

    config = {"note": "<script>alert(1)</script>"}
    with pf.Recorder(tmp_path / "run", config=config, probes={"text": pf.Probe(np.ones((4, 257), int))}) as recorder:
        for step in range(1, 30):
            recorder.log(step, per_token_loss={"text": np.full((4, 256), 1 / step, np.float32)})
    html = pf.report(tmp_path, tmp_path / "report.html").read_text()
    assert "<script>alert(1)" not in html
    assert "&lt;script&gt;alert(1)" in html


def test_a_page_that_cannot_be_written_leaves_the_old_one(
    planted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "report.html"
    page.write_text("the old one")
    monkeypatch.setattr("phaseflow.reporting.page.get_plotlyjs", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        pf.report(planted, page)
    assert page.read_text() == "the old one"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (float("nan"), "–"),
        (0.12345, "0.123"),
        (1234.5, "1,234"),
        (12345, "12,345"),
        (True, "True"),
        ("x", "x"),
    ],
)
def test_numbers_are_written_for_a_reader(value: object, text: str) -> None:
    assert number(value) == text


def test_a_probability_is_never_a_false_zero() -> None:
    assert words.probability(0.0) == "below 0.001"
    assert words.probability(0.0213) == "0.021"


def test_a_run_without_a_change_says_why() -> None:
    verdict = {
        schema.PHASE_CHANGE: False,
        schema.REASON: "no head became an induction head",
        schema.HEADS: [],
        schema.BEST_HEAD: "L0H3",
        schema.BEST_SCORE: 0.034,
        schema.FINAL_SCORE: None,
    }
    assert words.answer(verdict) == "No phase change"
    assert words.facts(verdict) == [
        ("why", "no head became an induction head"),
        ("best prefix matching at the end", "0.03 (L0H3)"),
    ]


def test_a_directory_in_the_place_of_the_page_is_refused_and_left_as_it_was(planted: Path, tmp_path: Path) -> None:
    with pytest.raises(pf.exceptions.ParameterError, match=r"is a directory, expected a file: .*report\.html"):
        pf.report(planted, tmp_path)
    assert list(tmp_path.iterdir()) == []
