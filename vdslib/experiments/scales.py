"""Scales: parameters of all notebooks for one purpose, and the badge of a page that was not made at the default one."""

import html
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from vdslib import files
from vdslib.experiments import notebooks

FOLDER = files.root() / "book" / "scales"  # a file for each scale


def defaults(notebook: Mapping[str, Any]) -> dict[str, Any]:
    """Defaults that a notebook, read as JSON, declares; empty where it has no cell of parameters."""
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code" and "parameters" in cell["metadata"].get("tags", []):
            return {
                parameter.name: parameter.default for parameter in notebooks.parse("".join(cell["source"]))
            }
    return {}


def changed(usual: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Values that differ from the defaults; where results are kept changes none of them."""
    return {
        key: value for key, value in values.items() if key != "results_dir" and usual.get(key, value) != value
    }


def name(chapter: str, other: Mapping[str, Any]) -> str:
    """The scale whose parameters for a chapter are exactly these; ``default`` without any, empty for none."""
    if not other:
        return "default"
    for path in sorted(FOLDER.glob("*.yaml")):
        if yaml.safe_load(path.read_text(encoding="utf-8")).get(chapter) == other:
            return path.stem
    return ""


def badge(chapter: str, usual: Mapping[str, Any], values: Mapping[str, Any]) -> str:
    """Text of a cell that says at which scale a page was made, in HTML; empty at the default one."""
    other = changed(usual, values)
    scale = name(chapter, other)
    if scale == "default":
        return ""
    listed = ", ".join(
        f"{key} {html.escape(json.dumps(value))} (default {html.escape(json.dumps(usual[key]))})"
        for key, value in other.items()
    )
    lead = f"Scale: {scale}, not the default" if scale else "Other parameters than the default"
    # the class is known to JupyterLab, nbconvert and the theme of the book alike
    return f'<div class="alert alert-warning" role="note"><strong>{lead}.</strong> {listed}.</div>'


def mark(path: Path, chapter: str, values: Mapping[str, Any]) -> None:
    """Put the badge below the title of an executed copy, where one was made at another scale than the default."""
    if not path.is_file():
        return
    notebook = json.loads(path.read_text(encoding="utf-8"))
    text = badge(chapter, defaults(notebook), values)
    if not text:
        return
    cells = notebook["cells"]
    titles = [
        place
        for place, cell in enumerate(cells)
        if cell["cell_type"] == "markdown" and "".join(cell["source"]).startswith("# ")
    ]
    cell = {"cell_type": "markdown", "id": "scale", "metadata": {"tags": ["scale"]}, "source": text}
    cells.insert(titles[0] + 1 if titles else 0, cell)
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
