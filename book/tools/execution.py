"""Running notebooks with papermill, and the plain form in which they are kept."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import matplotlib.font_manager  # noqa: F401  # makes its cache of fonts; in a kernel a message about it would be kept
import nbformat
import papermill

from vdslib import files
from vdslib.experiments import kernel

ROOT = files.root()
# Papermill, JupyterLab and converters leave these in notebooks; they differ from run to run or say nothing.
NOTEBOOK_NOISE = ("papermill", "jupytext", "widgets", "toc-autonumbering")
CELL_NOISE = (
    "papermill",
    "execution",
    "collapsed",
    "trusted",
    "scrolled",
    "lines_to_next_cell",
    "cell_marker",
)


@contextmanager
def kernel_folder(results: Path, variables: Mapping[str, str] | None = None) -> Iterator[Path]:
    """A short-lived folder for sockets, with the environment that kernels started meanwhile shall have: where chapters
    record results and read them, and ``variables``."""
    with kernel.folder() as folder:
        own = {
            "VDS_RESULTS": str(results),
            # a reader's own IPython profile must not change what a chapter does
            "IPYTHONDIR": str(folder),
            **(variables or {}),
        }
        before = {name: os.environ.get(name) for name in own}
        os.environ.update(own)
        try:
            yield folder
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})


def execute(
    path: Path, label: str, results: Path, variables: Mapping[str, str] | None = None
) -> nbformat.NotebookNode:
    """Run a notebook in its own folder and return the executed copy, normalised.

    Its kernel has the environment of `kernel_folder`. ``label`` stands before the bar that counts cells, which shows on a terminal only. Raises papermill's
    PapermillExecutionError, which holds the traceback, where a cell fails.
    """
    with kernel_folder(results, variables) as folder:
        # tqdm shows nothing where a terminal does not tell its own width
        width = shutil.get_terminal_size().columns
        bar = {"desc": label, "disable": not sys.stderr.isatty(), "leave": False, "ncols": width}
        executed = papermill.execute_notebook(
            str(path),
            str(folder / path.name),
            cwd=str(path.parent),
            kernel_name="python3",
            progress_bar=bar,
            request_save_on_cell_execute=False,
            kernel_manager_class=kernel.Kernel,
            config=kernel.settings(folder, {}),
        )
    return normalise(executed)


def normalise(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook without anything that differs between two runs other than true outputs; changed in place."""
    for key in NOTEBOOK_NOISE:
        notebook.metadata.pop(key, None)
    notebook.metadata["kernelspec"] = {
        "display_name": "Python 3",
        "language": "python",
        "name": "python3",
    }
    notebook.metadata["language_info"] = {"name": "python", "pygments_lexer": "ipython3"}
    seen: dict[str, int] = {}
    for cell in notebook.cells:
        for key in CELL_NOISE:
            cell.metadata.pop(key, None)
        if not cell.metadata.get("tags", True):
            del cell.metadata["tags"]
        cell["id"] = _stable_id(cell, seen)
        if cell.cell_type == "code":
            cell.outputs = merge_streams(cell.outputs)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def _stable_id(cell: nbformat.NotebookNode, seen: dict[str, int]) -> str:
    """An id made of the cell's text, so that it neither changes with each conversion nor with the cells before."""
    text = hashlib.sha256(f"{cell.cell_type} {cell.source}".encode()).hexdigest()[:8]
    seen[text] = seen.get(text, 0) + 1
    return text if seen[text] == 1 else f"{text}-{seen[text]}"


def merge_streams(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Outputs with neighbouring pieces of one stream put together: where they break depends on timing."""
    merged: list[nbformat.NotebookNode] = []
    for output in outputs:
        last = merged[-1] if merged else None
        if last and output.output_type == last.output_type == "stream" and output.name == last.name:
            last.text += output.text
        else:
            merged.append(output)
    return merged


def write(notebook: nbformat.NotebookNode, path: Path) -> None:
    """Save a notebook at once or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    files.save(path, nbformat.writes(notebook).rstrip("\n") + "\n")
