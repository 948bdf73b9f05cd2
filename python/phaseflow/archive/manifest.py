"""``phaseflow.json``: what a run is. Written once, when the run is made; its presence makes a directory a run."""

import json
import math
import os
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from phaseflow._core import __version__, write_file
from phaseflow.archive.files import MANIFEST, PROBES
from phaseflow.archive.probe import Probe, read_probe
from phaseflow.archive.problem import Problem
from phaseflow.exceptions import CorruptArchiveError, MissingDataError, ParameterError, PhaseflowError

FORMAT = "phaseflow-run"
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Manifest:
    """Identity, configuration and probes of a run."""

    run_id: str
    config: dict[str, Any]
    probes: dict[str, Probe]


def new_manifest(config: Mapping[str, Any] | None, probes: Mapping[str, Probe]) -> Manifest:
    """A manifest with a fresh run id."""
    return Manifest(uuid.uuid4().hex, plain_config(config or {}), dict(probes))


def plain_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """``config`` as JSON will give it back: tuples become lists, paths and numpy scalars plain values."""
    return {str(key): _plain(f"config.{key}", value) for key, value in config.items()}


def _plain(where: str, value: Any) -> Any:
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ParameterError(f"{where} is {value}, which JSON cannot hold; write it as text")
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(f"{where}.{key}", inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(f"{where}[{index}]", inner) for index, inner in enumerate(value)]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        return _plain(where, value.item())
    raise ParameterError(
        f"{where} is a {type(value).__name__}, expected text, numbers, lists or mappings; write it as text"
    )


def write_manifest(run_dir: Path, manifest: Manifest) -> None:
    """Write it; the probes' tokens must be there already."""
    probes = {
        name: {
            "file": f"{PROBES}/{name}.safetensors",
            "shape": list(probe.tokens.shape),
            "tokens_hash": probe.tokens_hash,
            "bos": probe.bos,
            "description": probe.description,
        }
        for name, probe in manifest.probes.items()
    }
    content = {
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        "run_id": manifest.run_id,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "written_by": f"phaseflow {__version__}",
        "config": manifest.config,
        "probes": probes,
    }
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
    write_file(run_dir / MANIFEST, text.encode() + b"\n")


def read_manifest(run_dir: Path) -> tuple[Manifest, list[Problem]]:
    """Read and check the manifest of a run; probes that cannot be read are left out and told.

    Raises
    ------
    MissingDataError
        ``run_dir`` is not a run.
    CorruptArchiveError
        The manifest is damaged, foreign, or of a newer schema.
    """
    path = run_dir / MANIFEST
    if not path.is_file():
        raise MissingDataError(
            f"{run_dir} is not a run: it has no {MANIFEST}; give the directory that a Recorder wrote"
        )
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise _damaged(path, "content", "JSON", str(error)) from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise _damaged(
            path,
            "format",
            repr(FORMAT),
            repr(content.get("format") if isinstance(content, dict) else type(content).__name__),
        )
    version = content.get("schema_version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise _damaged(path, "schema_version", "a number from 1", repr(version))
    if version > SCHEMA_VERSION:
        raise CorruptArchiveError(
            f"{path}: schema_version: expected at most {SCHEMA_VERSION}, found {version}; "
            f"{content.get('written_by')!r} wrote it and is newer than this phaseflow {__version__}: upgrade"
        )
    run_id, config, probes = content.get("run_id"), content.get("config"), content.get("probes")
    if not isinstance(run_id, str) or not isinstance(config, dict) or not isinstance(probes, dict):
        raise _damaged(
            path, "run_id, config, probes", "text and two mappings", f"{run_id!r:.40}, {config!r:.40}, {probes!r:.40}"
        )
    read: dict[str, Probe] = {}
    problems = []
    for name, entry in probes.items():
        # The place follows from the name; a path in a file is not followed.
        file = f"{PROBES}/{Path(name).name}.safetensors"
        try:
            read[name] = _read_probe(run_dir / file, entry)
        except (PhaseflowError, OSError) as error:
            problems.append(Problem(file, f"probe {name}", "the tokens the run was made with", str(error)))
    return Manifest(run_id, config, read), problems


def _read_probe(file: Path, entry: Any) -> Probe:
    match entry:
        case {"bos": int() | None as bos, "description": str(description), "tokens_hash": str(tokens_hash)}:
            return read_probe(file, bos=bos, description=description, tokens_hash=tokens_hash)
        case _:
            raise CorruptArchiveError(f"expected bos, description and tokens_hash in {MANIFEST}, found {entry!r:.80}")


def _damaged(path: Path, what: str, expected: str, found: str) -> CorruptArchiveError:
    return CorruptArchiveError(f"{path}: {what}: expected {expected}, found {found}; restore the file from a copy")


def check_same(
    run_dir: Path, manifest: Manifest, config: Mapping[str, Any] | None, probes: Mapping[str, Probe] | None
) -> None:
    """Whether a Recorder that reopens the run may go on with it; None means "as it is"."""
    differences = []
    if config is not None:
        differences += _differences("config", manifest.config, plain_config(config))
    if probes is not None:
        stored = {name: {"tokens": p.tokens_hash, "bos": p.bos} for name, p in manifest.probes.items()}
        given = {name: {"tokens": p.tokens_hash, "bos": p.bos} for name, p in probes.items()}
        differences += _differences("probes", stored, given)
    if differences:
        raise ParameterError(
            f"{run_dir} already holds a run that differs: {'; '.join(differences)}. "
            "Give the run a directory of its own, or reopen this one as it was"
        )


def _differences(where: str, stored: Any, given: Any) -> list[str]:
    if isinstance(stored, dict) and isinstance(given, dict):
        keys = sorted(stored.keys() | given.keys())
        absent = "absent"
        return [
            line
            for key in keys
            for line in _differences(f"{where}.{key}", stored.get(key, absent), given.get(key, absent))
        ]
    return [] if stored == given else [f"{where} is {stored!r:.80} in the archive, {given!r:.80} here"]
