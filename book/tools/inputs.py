"""What the outputs of a notebook depend on, as fingerprints.

A notebook is run again when one of these changed since its last run: its code cells (not its prose), the modules
of vdslib that it imports, directly or through others, the recorded data it reads, the lock of the environment, and,
where it reads the results of other chapters, those results.
"""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from vdslib.fingerprints import (
    closure,
    data_files,
    digest,
    modules,
    of_file,
    read_code,
    reads_results,
    syntax,
)


@dataclass
class Inputs:
    """Fingerprints of everything a notebook depends on, by kind; the last four by name of file or module."""

    environment: str
    code: str
    modules: dict[str, str] = field(default_factory=dict)
    data: dict[str, str] = field(default_factory=dict)
    results: dict[str, str] = field(default_factory=dict)

    def changes_since(self, before: dict[str, Any]) -> list[str]:
        """What differs from earlier fingerprints, in words; empty where nothing does."""
        now = asdict(self)
        found = [
            word
            for word, kind in (("the locked environment", "environment"), ("its code", "code"))
            if now[kind] != before.get(kind)
        ]
        for kind in ("modules", "data", "results"):
            old = before.get(kind, {})
            names = sorted(name for name in {*old, *now[kind]} if old.get(name) != now[kind].get(name))
            found += [f"results of {name}" if kind == "results" else name for name in names]
        return found


def notebooks(root: Path) -> list[Path]:
    """The notebooks in the order in which they run: those that read results of others after all the others."""
    found = sorted((root / "notebooks").glob("*.ipynb"))
    return sorted(found, key=lambda path: reads_results(syntax(read_code(path))))


def of_notebook(root: Path, path: Path, results: Path) -> Inputs:
    """Fingerprints of a notebook's inputs as they are now; ``results`` is where chapters record theirs."""
    cells = read_code(path)
    tree = syntax(cells)
    found = Inputs(
        environment=digest(of_file(root / "requirements.lock"), "{}.{}".format(*sys.version_info)),
        code=digest(*cells),
    )
    known = modules(root)
    found.modules = {name: of_file(known[name]) for name in sorted(closure(tree, known))}
    found.data = {file.relative_to(root).as_posix(): of_file(file) for file in data_files(root, tree)}
    if reads_results(tree):
        others = [other for other in notebooks(root) if not reads_results(syntax(read_code(other)))]
        found.results = {other.stem: of_file(results / f"{other.stem}.json") for other in others}
    return found
