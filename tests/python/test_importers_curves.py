"""Curves out of tables, and the command line over them: every format, what tells curves apart, what is wrong."""

import json

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from phaseflow.cli import app
from phaseflow.exceptions import CorruptArchiveError, DtypeError, MissingDataError, ParameterError, UnknownNameError
from phaseflow.importers import read_curves
from shared_data import shared

# Out of order, two runs, one value missing.
TABLE = pl.DataFrame({"run": ["b", "a", "a", "a"], "step": [1, 3, 1, 2], "loss": [9.0, 1.0, 3.0, None]})

WRITERS = {
    "csv": TABLE.write_csv,
    "tsv": lambda path: TABLE.write_csv(path, separator="\t"),
    "parquet": TABLE.write_parquet,
    "jsonl": TABLE.write_ndjson,
}


@pytest.mark.parametrize("suffix", WRITERS)
def test_every_format_gives_the_curves_sorted_by_x_without_missing_values(tmp_path, suffix):
    path = tmp_path / f"log.{suffix}"
    WRITERS[suffix](path)
    a, b = read_curves(path, "loss", x="step", by=["run"])
    assert (a.name, a.x.tolist(), a.y.tolist()) == ({"run": "a"}, [1.0, 3.0], [3.0, 1.0])
    assert (b.name, b.x.tolist(), b.y.tolist()) == ({"run": "b"}, [1.0], [9.0])


def test_without_x_rows_are_numbered(tmp_path):
    TABLE.write_csv(tmp_path / "log.csv")
    (curve,) = read_curves(tmp_path / "log.csv", "loss")
    assert (curve.x.tolist(), curve.y.tolist()) == ([0, 1, 2], [9.0, 1.0, 3.0])


@pytest.mark.parametrize(
    ("column", "options", "error", "message"),
    [
        ("los", {}, UnknownNameError, "no column 'los', it has run, step, loss"),
        ("loss", {"x": "time"}, UnknownNameError, "no column 'time'"),
        ("run", {}, DtypeError, "column 'run' holds String, expected numbers"),
        ("loss", {"x": "step"}, ParameterError, "step 1 comes twice; name the column that tells the rows apart: by"),
    ],
)
def test_columns_that_do_not_serve_are_named(tmp_path, column, options, error, message):
    TABLE.write_csv(tmp_path / "log.csv")
    with pytest.raises(error, match=message):
        read_curves(tmp_path / "log.csv", column, **options)


def test_files_that_do_not_serve_are_named(tmp_path):
    with pytest.raises(MissingDataError, match=r"gone.csv: no such file"):
        read_curves(tmp_path / "gone.csv", "loss")
    with pytest.raises(MissingDataError, match=r"no reader for this file name; known: .csv"):
        read_curves(tmp_path / "log.xls", "loss")
    (tmp_path / "log.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(CorruptArchiveError, match=r"expected a readable .parquet table"):
        read_curves(tmp_path / "log.parquet", "loss")
    (tmp_path / "empty.csv").write_text("loss\n")
    with pytest.raises((MissingDataError, DtypeError), match="loss"):
        read_curves(tmp_path / "empty.csv", "loss")


def test_a_published_log_is_read(tmp_path):
    path = shared("modded_nanogpt", "val_loss.csv.gz")
    columns = pl.read_csv(path, n_rows=1).columns
    curves = read_curves(path, columns[-1])
    assert len(curves) == 1
    assert curves[0].y.size > 1000


# The command


def run(*arguments: str) -> list[dict[str, object]]:
    result = CliRunner().invoke(app, ["changepoints", *arguments, "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def test_a_jump_is_found_at_its_step_in_the_curve_that_has_it(tmp_path):
    steps = np.arange(100)
    rows = [{"run": "flat", "step": int(step), "loss": 1.0 + step % 2 * 0.01} for step in steps]
    rows += [{"run": "jump", "step": int(step), "loss": float(step >= 40) + step % 2 * 0.01} for step in steps]
    pl.DataFrame(rows).write_csv(tmp_path / "log.csv")
    found = run(str(tmp_path / "log.csv"), "--column", "loss", "--x", "step", "--by", "run", "--penalty", "1")
    assert [(row["run"], row["x_first"]) for row in found] == [("flat", 0), ("jump", 0), ("jump", 40)]


def test_a_window_is_found_between_its_steps(tmp_path):
    step = np.unique(np.logspace(0, 4, 60).astype(int))
    drop = np.clip((np.log10(step) - 2.5) / 0.4, 0, 1)
    loss = 3 + 4 * step**-0.3 - drop + 0.01 * np.random.default_rng(0).normal(size=len(step))
    pl.DataFrame({"step": [0, *step], "loss": [7.2, *loss]}).write_parquet(tmp_path / "log.parquet")
    (window,) = run(str(tmp_path / "log.parquet"), "--column", "loss", "--x", "step", "--windows")
    assert window["start_lower"] <= 10**2.5 <= window["start_upper"]
    assert window["end_lower"] <= 10**2.9 <= window["end_upper"]
    assert window["size"] == pytest.approx(-1, abs=0.1)


def test_a_table_wider_than_the_terminal_is_not_cut(tmp_path):
    TABLE.with_columns(run=pl.col("run") + "x" * 90).write_csv(tmp_path / "log.csv")
    arguments = ["changepoints", str(tmp_path / "log.csv"), "--column", "loss", "--x", "step", "--by", "run"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    *_, a, b = result.output.splitlines()
    assert a.split() == ["a" + "x" * 90, "0", "0", "2", "1", "3", "2", "2"]
    assert b.split() == ["b" + "x" * 90, "0", "0", "1", "1", "1", "9", "0"]
