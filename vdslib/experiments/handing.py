"""Results that chapters hand on to later ones: a JSON file for each chapter, in a folder."""

import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vdslib import files
from vdslib.experiments.identity import of_file

BUILD = files.root() / "_build"
MAKERS = ".makers.json"  # beside results: which notebook recorded those that are not called like it


def results_folder(results_dir: str | Path = "") -> Path:
    """Where a chapter records: the folder given, else ``$VDS_RESULTS``, else ``_build/by-hand`` of the project.

    What the build recorded is in ``_build/results``, which only the build writes: a chapter run by hand, perhaps with
    other parameters, must not change what the book's last chapter judges.
    """
    return Path(results_dir or os.environ.get("VDS_RESULTS") or BUILD / "by-hand")


def record(chapter: str, values: Mapping[str, Any], results_dir: str | Path = "") -> Path:
    """Hand results of a chapter on to later ones; returns the file (JSON, written atomically; see ``results_folder``).

    Arrays and tables become lists and lists of records; numbers that are not finite become null.
    """
    folder = results_folder(results_dir)
    return _write(folder / f"{chapter}.json", _plain(values))


def _write(target: Path, content: Any) -> Path:
    """Write JSON at once or not at all; returns the file."""
    target.parent.mkdir(parents=True, exist_ok=True)
    files.save(target, json.dumps(content, indent=1, allow_nan=False))
    return target


def _plain(value: Any) -> Any:
    """A value in the types of JSON."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if hasattr(value, "to_dict"):  # a pandas table, or a series with its index as keys
        return _plain(value.to_dict(orient="records") if getattr(value, "ndim", 1) == 2 else value.to_dict())
    if hasattr(value, "tolist"):  # a numpy array or number
        return _plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)


class Results(Mapping[str, dict[str, Any]]):
    """What chapters recorded, by chapter, out of folders of which the first that has a chapter counts.

    A chapter's results are read when they are asked for and not before, so that the build sees who reads whose.
    """

    def __init__(self, *folders: Path) -> None:
        self._folders = folders

    def __getitem__(self, chapter: str) -> dict[str, Any]:
        for folder in self._folders:
            try:
                return json.loads((folder / f"{chapter}.json").read_text(encoding="utf-8"))
            except FileNotFoundError:
                continue
        raise KeyError(chapter)

    def __iter__(self) -> Iterator[str]:
        names = {path.stem for folder in self._folders for path in folder.glob("[!.]*.json")}
        return iter(sorted(names))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __repr__(self) -> str:
        return f"Results({', '.join(self)})"


def load(results_dir: str | Path = "") -> Results:
    """Results of all chapters recorded so far, by chapter; empty where none has run.

    They are those in the folder given, else in ``$VDS_RESULTS`` (and ``$VDS_EARLIER_RESULTS``, where a run has those
    of the chapters before), else those of the build and, for what it did not record, of chapters run by hand.
    """
    if results_dir:
        return Results(Path(results_dir))
    variables = [os.environ.get(name) for name in ("VDS_RESULTS", "VDS_EARLIER_RESULTS")]
    if any(variables):
        return Results(*(Path(folder) for folder in variables if folder))
    return Results(BUILD / "results", BUILD / "by-hand")


def hand_on(made: Mapping[str, Any], folder: str | Path, notebook: str) -> None:
    """Record what a run of a notebook made in the folder that other chapters read, and which notebook made it."""
    recorded = {chapter: record(chapter, values, folder) for chapter, values in made.items()}
    others = {chapter: [notebook, of_file(file)] for chapter, file in recorded.items() if chapter != notebook}
    if others:
        _write(Path(folder, MAKERS), _read_makers(folder) | others)


def makers(folder: str | Path) -> dict[str, str]:
    """The notebooks that recorded the results in a folder, by chapter, where their names are not the chapters'."""
    return {
        chapter: notebook
        for chapter, (notebook, state) in _read_makers(folder).items()
        if of_file(Path(folder, f"{chapter}.json")) == state
    }


def _read_makers(folder: str | Path) -> dict[str, list[str]]:
    path = Path(folder, MAKERS)
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
