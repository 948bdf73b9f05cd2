"""A folder of text files small enough to train on within a test."""

from pathlib import Path

import numpy as np

WORDS = [
    "def",
    "return",
    "value",
    "for",
    "in",
    "range",
    "class",
    "self",
    "import",
    "if",
    "else",
    "print",
    "name",
    "size",
]


def write_text(folder: Path, *, n_files: int = 30, n_words: int = 400) -> Path:
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(n_files):
        (folder / f"file{number:02d}.py").write_text(" ".join(rng.choice(WORDS, n_words)))
    return folder
