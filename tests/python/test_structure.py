"""The shape of the package: who may import whom, and what an import may cost."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "python" / "phaseflow"

# Each part may import what stands on an earlier line; parts of one line do not import each other.
LAYERS = [
    {"exceptions", "schema"},
    {"_core"},
    {"discovery"},
    {"metrics", "changepoint"},
    {"archive"},
    {"importers", "analysis", "polars"},
    {"engines"},
    {"reporting"},
    {"training"},
    {"labs"},
    {"cli"},
    {"__main__"},
]
RANK = {part: rank for rank, parts in enumerate(LAYERS) for part in parts}
# torch-side code sits beside the reading side: it writes archives and knows nothing of their analysis.
FORBIDDEN = {"training": {"importers", "analysis", "engines", "reporting"}}
NEEDS_TORCH = {"training", "labs", "cli"}
TORCH = {"torch", "tokenizers"}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """Every module a file imports, anywhere in it, by full name."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the direction of an arrow"
            found.add(node.module)
            if node.module == "phaseflow":
                found |= {f"phaseflow.{alias.name}" for alias in node.names}
    return found


def arrow_error(part: str, target: str) -> str | None:
    """Why ``part`` may not import ``target`` (both parts of the package), or None."""
    if part == target or part == "__init__":
        return None
    if target not in RANK:
        return f"{part} imports phaseflow.{target}, which is not a part of the package"
    if RANK[target] > RANK[part] or (RANK[target] == RANK[part] and part not in LAYERS[0]):
        return f"{part} imports {target}, which stands to its right"
    if target in FORBIDDEN.get(part, set()):
        return f"{part} imports {target}: training writes archives and does not read their analysis"
    return None


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_import_points_to_the_left(path: Path) -> None:
    part = part_of(path)
    assert part == "__init__" or part in RANK, f"{part} has no place in the import order yet"
    for name in imports(path):
        if name.startswith("phaseflow.") and name != "phaseflow.__version__":
            target = name.split(".")[1]
            assert (error := arrow_error(part, target)) is None, f"{path}: {error}"
        if name.split(".")[0] in TORCH:
            assert part in NEEDS_TORCH, f"{path} imports {name}"
        if name.split(".")[0] == "plotly":
            assert part in {"reporting", "changepoint", "labs"}, f"{path} imports {name}"


def test_the_rule_itself_refuses_an_arrow_to_the_right() -> None:
    assert arrow_error("metrics", "archive") is not None
    assert arrow_error("metrics", "changepoint") is not None
    assert arrow_error("training", "analysis") is not None
    assert arrow_error("analysis", "archive") is None


def loaded_after(code: str) -> set[str]:
    probe = f"{code}\nimport sys; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in done.stdout.splitlines()[-1].split()}


def test_importing_phaseflow_loads_nothing_heavy() -> None:
    assert not loaded_after("import phaseflow") & {"torch", "plotly", "polars", "tokenizers", "numpy"}


def test_computing_a_score_loads_neither_torch_nor_plotly() -> None:
    code = "import phaseflow, numpy; phaseflow.prefix_matching_score(numpy.ones((1, 2, 2)), numpy.array([1, 1]))"
    assert not loaded_after(code) & {"torch", "plotly"}


@pytest.mark.parametrize("name", ["phaseflow"])
def test_an_unknown_public_name_lists_the_known_ones(name: str) -> None:
    module = __import__(name)
    with pytest.raises(AttributeError, match="prefix_matching_score"):
        _ = module.prefix_matching
