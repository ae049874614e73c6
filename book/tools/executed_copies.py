"""Sphinx extension of the book: outputs from executed copies, MathJax from the book itself.

The page of a notebook takes its prose and its code from ``notebooks/`` and its outputs from the executed copy, so
that a change of prose needs no run. A copy of other code, an error among the outputs or an image without alternative
text is a warning, which the strict build turns into a failure. The folder of copies is ``_build/executed``, or what
the variable VDS_EXECUTED says; empty, pages show the outputs that the notebooks carry.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.util import logging

logger = logging.getLogger(__name__)
IMAGES = ("image/png", "image/svg+xml", "image/jpeg")


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect to Sphinx."""
    app.connect("config-inited", serve_mathjax)
    app.connect("source-read", use_executed_copy)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def use_executed_copy(app: Sphinx, docname: str, source: list[str]) -> None:
    """Replace the text of a notebook page by source and executed copy put together."""
    if not docname.startswith("notebooks/"):
        return
    notebook = json.loads(source[0])
    folder = os.environ.get("VDS_EXECUTED", str(Path(app.srcdir) / "_build" / "executed"))
    copy = Path(folder) / f"{Path(docname).name}.ipynb"
    faults = []
    if folder and copy.is_file():
        app.env.note_dependency(str(copy))
        faults = take_outputs(notebook, json.loads(copy.read_text(encoding="utf-8")))
    for fault in faults + describe_images(notebook):
        logger.warning(fault, location=docname)
    source[0] = json.dumps(notebook)


def code_cells(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    """Code cells of a notebook read as JSON."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def take_outputs(notebook: dict[str, Any], copy: dict[str, Any]) -> list[str]:
    """Put the outputs of an executed copy into a notebook, in place; returns what is wrong with the copy."""
    cells, executed = code_cells(notebook), code_cells(copy)
    texts = [["".join(cell["source"]) for cell in side] for side in (cells, executed)]
    if texts[0] != texts[1]:
        return ["the executed copy is stale: its code differs from the notebook's"]
    for cell, other in zip(cells, executed, strict=True):
        cell["outputs"], cell["execution_count"] = other["outputs"], other["execution_count"]
    notebook["metadata"]["language_info"] = copy["metadata"]["language_info"]  # names the colours of the code
    return []


def describe_images(notebook: dict[str, Any]) -> list[str]:
    """Hand alternative texts of images on to MyST-NB, which reads them from the cell's metadata alone, in place.

    Returns faults among the outputs: errors, and images without alternative text.
    """
    faults = []
    for number, cell in enumerate(code_cells(notebook), start=1):
        for output in cell["outputs"]:
            if output["output_type"] == "error":
                faults.append(f"code cell {number} ended in {output['ename']}: {output['evalue']}")
            kinds = [kind for kind in IMAGES if kind in output.get("data", {})]
            if not kinds:
                continue
            texts = [output.get("metadata", {}).get(kind, {}).get("alt", "") for kind in kinds]
            settings = cell["metadata"].setdefault("mystnb", {}).setdefault("image", {})
            settings["alt"] = settings.get("alt") or next((text for text in texts if text), "")
            if not settings["alt"].strip():
                faults.append(f"code cell {number} shows an image without alternative text")
    return faults


def serve_mathjax(app: Sphinx, config: Any) -> None:
    """Serve one file of MathJax with the pages: the one that draws in SVG needs no fonts beside it.

    It comes from the package sphinx-mathjax-offline, whose own extension would copy 15 MB.
    """
    package = importlib.util.find_spec("sphinx-mathjax-offline")
    if package is None or package.origin is None:
        raise RuntimeError("the package sphinx-mathjax-offline is missing; run make again")
    script = Path(package.origin).parent / "static" / "mathjax" / "tex-svg.js"
    config.mathjax_path = script.name

    def copy(app: Sphinx, error: Exception | None) -> None:
        if error is None and app.builder.format == "html":
            shutil.copy(script, Path(app.outdir) / "_static" / script.name)

    app.connect("build-finished", copy)
