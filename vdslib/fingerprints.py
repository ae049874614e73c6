"""Fingerprints of what the outputs of a notebook depend on: code cells, modules of vdslib, files in ``data/``."""

from __future__ import annotations

import ast
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = [
    "closure",
    "code_cells",
    "data_files",
    "digest",
    "modules",
    "of_file",
    "read_code",
    "reads_results",
    "syntax",
]

RECORDED = "vds_data.csv"  # what a notebook reads when its telemetry is "recorded"


def digest(*parts: str | bytes) -> str:
    """SHA-256 of parts of text or bytes, kept apart from each other."""
    total = hashlib.sha256()
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        total.update(len(content).to_bytes(8, "big") + content)
    return total.hexdigest()


def of_file(path: Path) -> str:
    """Fingerprint of a file's content; empty where there is no such file."""
    return digest(path.read_bytes()) if path.is_file() else ""


def code_cells(notebook: dict[str, Any]) -> list[str]:
    """Sources of the code cells of a notebook read as JSON or by nbformat."""
    sources = [cell["source"] for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return [source if isinstance(source, str) else "".join(source) for source in sources]


def read_code(path: Path) -> list[str]:
    """Sources of the code cells of a notebook file."""
    return code_cells(json.loads(path.read_text(encoding="utf-8")))


def syntax(cells: list[str]) -> ast.Module:
    """Syntax tree of code cells; lines for IPython alone (``%`` and ``!``) are left out.

    A cell that is not Python counts as empty here: the run itself will show the error.
    """
    tree = ast.Module(body=[], type_ignores=[])
    for cell in cells:
        try:
            tree.body += ast.parse(re.sub(r"(?m)^\s*[%!].*$", "", cell)).body
        except SyntaxError:
            continue
    return tree


def reads_results(tree: ast.Module) -> bool:
    """Whether code calls ``experiments.load``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "experiments.load":
            return True
        names = [alias.name for alias in node.names] if isinstance(node, ast.ImportFrom) else []
        if isinstance(node, ast.ImportFrom) and node.module == "vdslib.experiments" and "load" in names:
            return True
    return False


def data_files(root: Path, tree: ast.Module) -> list[Path]:
    """Files in ``data/`` that code reads: named in a string, or the recorded telemetry as such."""
    strings = set(_strings(tree))
    named = {Path(text).name for text in strings}
    parameters = {name.id for name in ast.walk(tree) if isinstance(name, ast.Name)}
    if "recorded" in strings or "telemetry" in parameters & _assigned(tree):
        named.add(RECORDED)
    return [path for path in sorted((root / "data").glob("*")) if path.name in named]


def _assigned(tree: ast.Module) -> set[str]:
    """Names with a type that get a value at the top level, as parameters do."""
    return {
        node.target.id
        for node in tree.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }


def _strings(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def modules(root: Path) -> dict[str, Path]:
    """All modules of vdslib, by dotted name."""
    found = {}
    for path in sorted((root / "vdslib").rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def closure(tree: ast.Module, known: dict[str, Path]) -> set[str]:
    """Modules of vdslib that code needs, with those that they need in turn."""
    found: set[str] = set()
    waiting = _referred(tree, known, "")
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        path = known[name]
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        waiting |= _referred(ast.parse(path.read_text(encoding="utf-8")), known, package)
    return found


def _referred(tree: ast.Module, known: dict[str, Path], package: str) -> set[str]:
    """Modules that code names itself: in imports anywhere, or in strings (started as processes of their own)."""
    names = set(_strings(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = ".".join(package.split(".")[: len(package.split(".")) - node.level + 1])
            base = ".".join(part for part in (above if node.level else "", node.module or "") if part)
            names |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    parents = {".".join(name.split(".")[:end]) for name in names & known.keys() for end in range(1, 9)}
    return (names | parents) & known.keys()
