"""The pictures of losses: what is blank, what is seen on every colour, and where numbers stand."""

import numpy as np
import polars as pl
import pytest

from phaseflow.reporting import figures, function_space

WINDOW = {"start": 10.0, "start_lower": 8.0, "start_upper": 12.0, "end": 20.0, "end_lower": 18.0, "end_upper": 25.0}


def derivative(values: list[float], errors: list[float]) -> pl.DataFrame:
    """One token index, from step 1 on."""
    n = len(values)
    columns = {"run": ["a"] * n, "probe": ["text"] * n, "step": range(1, n + 1), "token_index": [50] * n}
    return pl.DataFrame({**columns, "value": values, "standard_error": errors})


def test_the_map_is_blank_within_two_standard_errors_of_0() -> None:
    table = derivative([-0.3, -0.3, 0.3, 0.3, 0.0, np.nan, -0.3], [0.1, 0.2, 0.1, 0.2, 0.0, np.nan, np.nan])
    (drawn,) = figures.loss_derivative(table, {}).data
    np.testing.assert_array_equal(drawn.z, [[-0.3, np.nan, 0.3, np.nan, np.nan, np.nan, np.nan]])


def test_the_ends_of_the_phase_change_are_seen_on_every_colour_of_the_map() -> None:
    figure = figures.loss_derivative(derivative([-0.3, 0.3], [0.1, 0.1]), {"a": {**WINDOW, "probe": "text"}})
    lines = [(shape.x0, shape.line.color, shape.opacity) for shape in figure.layout.shapes]
    assert lines == [(at, colour, 1) for at in (10.0, 20.0) for colour in ("white", figures.INK)]


def test_a_phase_change_is_shaded_in_the_colours_that_were_chosen() -> None:
    curve = pl.DataFrame({"run": ["a"] * 3, "probe": ["text"] * 3, "step": [1, 10, 30], "value": [3.0, 2.0, 1.0]})
    shapes = figures.curves(curve, {"a": {**WINDOW, "probe": "text"}}, y="nats").layout.shapes
    assert sorted((shape.x0, shape.x1) for shape in shapes) == [(8, 10), (10, 20), (20, 25)]
    assert {shape.opacity for shape in shapes} == {1}


@pytest.mark.parametrize(("towards", "side"), [(-1, "middle left"), (1, "middle right")])
def test_the_numbers_of_two_paths_stand_apart_and_the_last_one_outside(towards: int, side: str) -> None:
    steps = [1, 10, 100, 1000]
    rows = [
        (run, step, component, towards * float(at), 0.5)
        for run in "ab"
        for at, step in enumerate(steps)
        for component in (1, 2)
    ]
    space = pl.DataFrame(rows, ["run", "step", "component", "value", "share"], orient="row")
    texts = [trace for trace in function_space.trajectories(space, {}).data if trace.text is not None]
    assert [trace.text[-1] for trace in texts] == ["1,000"] * 2
    for trace, beside in zip(texts, ("top center", "bottom center"), strict=True):
        assert list(trace.textposition) == [beside] * (len(trace.text) - 1) + [side]
        assert trace.textfont.color == trace.marker.line.color
