"""The command line: what it prints, what it returns, and what it says when something is wrong."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from synthetic import STEPS, planted_run


def phaseflow(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "phaseflow", *map(str, arguments)]
    environment = {**os.environ, "COLUMNS": "120", "NO_COLOR": "1"}
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, timeout=120)


def test_help_names_every_command() -> None:
    done = phaseflow("--help")
    assert done.returncode == 0
    for command in ("demo", "train", "inspect", "analyze", "report", "verify"):
        assert command in done.stdout


def test_help_loads_no_numeric_library() -> None:
    code = "import sys; sys.argv = ['phaseflow', '--help']\nfrom phaseflow.cli import main\ntry: main()\nexcept SystemExit: pass\n"
    code += "assert not {'numpy', 'polars', 'torch', 'plotly'} & set(sys.modules), sorted(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_analyze_prints_both_verdicts(planted: Path) -> None:
    done = phaseflow("analyze", planted)
    assert done.returncode == 0, done.stderr
    assert "Phase change between steps" in done.stdout
    assert "L1H2" in done.stdout
    assert "No phase change" in done.stdout


def test_analyze_speaks_json(planted: Path) -> None:
    verdicts = json.loads(phaseflow("analyze", planted, "--json").stdout)
    assert {row["run"]: row["phase_change"] for row in verdicts} == {"with": True, "without": False}


def test_analyze_writes_every_table(planted: Path, tmp_path: Path) -> None:
    import polars as pl

    done = phaseflow("analyze", planted, "--output", tmp_path / "tables")
    assert done.returncode == 0, done.stderr
    heads = pl.read_parquet(tmp_path / "tables" / "head_scores.parquet")
    assert set(heads["run"]) == {"with", "without"}
    assert (tmp_path / "tables" / "phase_changes.parquet").exists()


def test_inspect_counts_checkpoints(planted: Path) -> None:
    rows = json.loads(phaseflow("inspect", planted, "--json").stdout)
    assert [row["checkpoints"] for row in rows] == [len(STEPS)] * 2
    assert "with" in phaseflow("inspect", planted).stdout


def test_report_writes_the_page(planted: Path, tmp_path: Path) -> None:
    done = phaseflow("report", planted, "-o", tmp_path / "page.html")
    assert done.returncode == 0, done.stderr
    assert "Phase change in 1 of 2 runs" in (tmp_path / "page.html").read_text()


def test_a_missing_directory_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    done = phaseflow("analyze", tmp_path / "nowhere")
    assert done.returncode == 2
    assert "nowhere" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_directory_without_runs_says_what_a_run_is(tmp_path: Path) -> None:
    done = phaseflow("inspect", tmp_path)
    assert done.returncode == 2
    assert "phaseflow.json" in done.stderr


def test_a_truncated_file_is_left_out_named_and_makes_exit_code_1(tmp_path: Path) -> None:
    planted_run(tmp_path / "with", induction=True)
    victim = sorted((tmp_path / "with" / "tensors").glob("*.safetensors"))[10]
    victim.write_bytes(victim.read_bytes()[:-100])
    done = phaseflow("analyze", tmp_path)
    assert done.returncode == 1
    assert victim.name in done.stderr
    assert "Phase change between steps" in done.stdout


def test_verify_passes_an_intact_archive_and_names_a_flipped_bit(tmp_path: Path) -> None:
    planted_run(tmp_path / "run", induction=False)
    assert phaseflow("verify", tmp_path).returncode == 0
    victim = sorted((tmp_path / "run" / "tensors").glob("*.safetensors"))[3]
    content = bytearray(victim.read_bytes())
    content[-1] ^= 1
    victim.write_bytes(content)
    done = phaseflow("verify", tmp_path)
    assert done.returncode == 3
    assert victim.name in done.stderr


def test_demo_without_torch_names_the_extra(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('No module named torch')")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "phaseflow", "demo", "--out", str(tmp_path / "runs")],
        capture_output=True, text=True, env=environment, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert "phaseflow[train]" in done.stderr


@pytest.mark.parametrize("command", ["demo", "train", "inspect", "analyze", "report", "verify"])
def test_every_command_has_help(command: str) -> None:
    assert phaseflow(command, "--help").returncode == 0
