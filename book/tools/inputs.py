"""What the outputs of a notebook depend on: what it was made of, and what it really opened while it ran.

A notebook is run again when one of these changed since: its code cells (not its prose), the locked environment, a
reader's own sources and forecasters, a file of the project that its kernel opened (modules of vdslib among them) or a
folder that it listed, and results of other chapters that it read or looked for. What was opened is noted by
``recording/sitecustomize.py`` in the kernel and in the processes that it starts.
"""

from __future__ import annotations

import json
import os
import re
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path

from vdslib import experiments
from vdslib.experiments import digest, names_in, of_file, of_prose_and_code, own_code, read_code
from vdslib.experiments.identity import environment

STAMP = "vds_inputs"  # key of the inputs in an executed copy's metadata
BUILD = os.environ.get(
    "VDS_BUILD", "_build"
)  # what is built; `make numerics` builds each of its runs elsewhere
RESULTS = f"{BUILD}/results"  # where the build's chapters record
ALL = "*"  # stands for the list of results
RECORDING = Path(__file__).resolve().with_name("recording")


@dataclass
class Inputs:
    """Fingerprints of what a notebook was made of and opened, by name, and of the results that it recorded."""

    environment: str
    code: str
    own: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    results: dict[str, str] = field(default_factory=dict)
    recorded: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, root: Path, path: Path, opened: Inputs | None = None) -> Inputs:
        """The inputs of a notebook as they are now, with the same names of files and results as in ``opened``."""
        known = opened or cls("", "")
        return cls(
            environment(root),
            digest(*read_code(path)),
            own_code(),
            {name: _state(root / name) for name in known.files},
            {name: _result(root, name, known.recorded) for name in known.results},
            {name: _result(root, name, {}) for name in known.recorded},
        )

    def reasons(self, root: Path, path: Path) -> list[str]:
        """What changed since these inputs were taken, in words; results of other chapters last."""
        now = Inputs.of(root, path, self)
        changed = [
            word
            for word, same in (
                ("the locked environment", now.environment == self.environment),
                ("its code", now.code == self.code),
                ("its own results are gone or were changed", now.recorded == self.recorded),
            )
            if not same
        ]
        changed += _differing(self.own, now.own) + _differing(self.files, now.files)
        return changed + [_words(name) for name in _differing(self.results, now.results)]


def _words(result: str) -> str:
    return "which results there are" if result == ALL else f"results of {result}"


def is_result(reason: str) -> bool:
    """Whether a reason to run is that results of other chapters changed."""
    return reason == _words(ALL) or reason.startswith("results of ")


def _differing(before: dict[str, str], now: dict[str, str]) -> list[str]:
    return sorted(name for name in {*before, *now} if before.get(name) != now.get(name))


def _state(path: Path) -> str:
    """Fingerprint of a file, of the names in a folder, or of a notebook but for its outputs; empty for nothing."""
    if path.is_dir():
        return digest(*names_in(path))
    return of_prose_and_code(path) if path.suffix == ".ipynb" else of_file(path)


def _result(root: Path, name: str, own: dict[str, str]) -> str:
    """Fingerprint of a recorded result, or of the names of all but ``own``."""
    folder = root / RESULTS
    if name == ALL:
        return digest(*(file for file in names_in(folder) if Path(file).stem not in own))
    return of_file(folder / f"{name}.json")


def recording(root: Path, log: Path) -> dict[str, str]:
    """Variables for a kernel that has what it opens in the project noted in the file ``log``."""
    inherited = os.environ.get("PYTHONPATH")
    paths = [str(RECORDING), *([inherited] if inherited else [])]
    return {"PYTHONPATH": os.pathsep.join(paths), "VDS_USED_ROOT": str(root), "VDS_USED_LOG": str(log)}


def stamp_of(root: Path, path: Path, before: Inputs, log: Path) -> Inputs:
    """The inputs of a notebook that ran: what ``before`` has, and what its ``log`` tells that it opened.

    What changed after it was opened, and not by the notebook, counts as changed.
    """
    entries = _entries(root, log)
    written = {name for kind, _, name in entries if kind == "w"}
    first: dict[str, tuple[str, int]] = {}
    for kind, changed, name in entries:
        first.setdefault(name, (kind, changed))
    # what it wrote before it read it is its own
    read = {name: changed for name, (kind, changed) in first.items() if kind != "w"}
    files = [name for name in read if not name.startswith(RESULTS)]
    results = [_stem(name) for name in read if name.startswith(RESULTS) and name not in written]
    recorded = [_stem(name) for name in written if name.startswith(f"{RESULTS}/")]
    used = Inputs("", "", {}, *(dict.fromkeys(names, "") for names in (files, results, recorded)))
    now = Inputs.of(root, path, used)
    now.environment, now.code, now.own = before.environment, before.code, before.own
    now.files |= {
        name: "changed meanwhile"
        for name in files
        if not (root / name).is_dir() and _changed(root / name) != read[name]
    }
    return now


def _entries(root: Path, log: Path) -> list[tuple[str, int, str]]:
    """Kind, time of change in ns and name of what a kernel opened, as the log has it; of what is built only results
    count, and nothing of what is installed, which the lock tells."""
    installed = Path(sys.prefix).is_relative_to(root) and Path(sys.prefix).relative_to(root).as_posix()
    entries = []
    for text in log.read_bytes().decode(errors="surrogateescape").split("\0") if log.is_file() else []:
        kind, _, rest = text.partition(" ")
        changed, _, name = rest.partition(" ")
        built = (
            name.startswith("_build")
            and name != RESULTS
            and not re.fullmatch(rf"{RESULTS}/[^/]+\.json", name)
        )
        other = installed and f"{name}/".startswith(f"{installed}/")
        if text and not (built or other or ".egg-info" in name):
            entries.append((kind, int(changed), name))
    return entries


def _stem(name: str) -> str:
    return ALL if name == RESULTS else Path(name).stem


def _changed(path: Path) -> int:
    """When what is at a path last changed, in ns; 0 for nothing."""
    return path.stat().st_ctime_ns if path.exists() else 0


def executed_copy(root: Path, path: Path) -> Path:
    """Where the executed copy of a notebook is kept."""
    return root / BUILD / "executed" / path.name


def read_stamp(root: Path, path: Path) -> Inputs | None:
    """The inputs of a notebook's executed copy; None where there is no copy with such a stamp."""
    try:
        stamp = json.loads(executed_copy(root, path).read_text(encoding="utf-8"))["metadata"][STAMP]
        return Inputs(**{name: stamp[name] for name in asdict(Inputs("", ""))})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def readers(stamps: dict[str, Inputs | None]) -> dict[str, set[str]]:
    """For each notebook those whose results it read or looked for, by the stamps of executed copies."""
    maker = {result: name for name, stamp in stamps.items() if stamp for result in stamp.recorded}
    return {
        name: {
            other
            for result, other in maker.items()
            if other != name and (result in stamp.results or ALL in stamp.results)
        }
        if stamp
        else set()
        for name, stamp in stamps.items()
    }


def order(names: list[str], reads: dict[str, set[str]]) -> tuple[list[str], list[str]]:
    """Names in an order in which each comes after those that it reads, else as they are, and those that cannot be
    ordered since they read each other, in a circle."""
    left, placed = list(names), []
    while ready := next((name for name in left if not reads[name] & set(left)), None):
        left.remove(ready)
        placed.append(ready)
    # of what is left, only what is read by others of it can be in a circle
    while ends := [name for name in left if not any(name in reads[other] for other in left)]:
        placed_last = ends[0]
        left.remove(placed_last)
    return [*placed, *(name for name in names if name not in placed)], left


def notebooks(root: Path) -> list[Path]:
    """The notebooks in the order in which they run: those of the book, but each after those whose results it read
    when it ran last."""
    paths = {name: root / "notebooks" / f"{name}.ipynb" for name in experiments.chapters(root)}
    reads = readers({name: read_stamp(root, path) for name, path in paths.items()})
    return [paths[name] for name in order(list(paths), reads)[0]]
