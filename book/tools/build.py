"""Make the book: run what is out of date, then render the pages.

    python book/tools/build.py book               what `make book` does
    python book/tools/build.py notebooks [NAME..] what `make notebooks` does: run, then save into notebooks/
    python book/tools/build.py pages FOLDER       the pages alone, from the outputs that the notebooks carry

An executed copy in ``_build/executed`` carries the fingerprints of the inputs it was made from in its metadata, so
that copy and stamp cannot be out of step.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import comparison
import inputs
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError

ROOT = Path(__file__).resolve().parents[2]
STAMP = "vds_inputs"  # key of the fingerprints in an executed copy's metadata


class BuildError(RuntimeError):
    """The build cannot go on; the message is for the reader."""


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(description="Run the notebooks and render the book.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("book", help="run what is out of date, render the pages")
    save = commands.add_parser("notebooks", help="run notebooks and save them with their outputs")
    save.add_argument("names", nargs="*", help="names of notebooks; all where none is given")
    pages = commands.add_parser("pages", help="render the pages from the outputs in notebooks/")
    pages.add_argument("folder", type=Path)
    given = parser.parse_args(arguments)
    try:
        if given.command == "book":
            run_notebooks(ROOT)
            print(f"The book is ready: open {render_if_changed(ROOT)}")
        elif given.command == "notebooks":
            save_notebooks(ROOT, given.names)
        else:
            print(render(ROOT, given.folder.resolve(), copies=None))
    except BuildError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; what has been finished is kept", file=sys.stderr)
        return 130
    return 0


def executed_copy(root: Path, path: Path, folder: str = "_build") -> Path:
    """Where the executed copy of a notebook is kept."""
    return root / folder / "executed" / path.name


def run_notebooks(root: Path, force: set[str] | None = None, folder: str = "_build") -> list[str]:
    """Run every notebook that is out of date, or is in ``force``; returns the names of those that ran.

    Executed copies and results are kept in ``folder`` within ``root``.
    """
    results = root / folder / "results"
    results.mkdir(parents=True, exist_ok=True)
    paths = inputs.notebooks(root)
    remove_leftovers(root / folder, {path.stem for path in paths})
    ran = []
    for number, path in enumerate(paths, start=1):
        why = reasons(root, path, results, folder)
        if path.stem in (force or ()):
            why = ["asked for"]
        if why:
            print(f"{path.stem}: {', '.join(why[:3])}{' ...' if len(why) > 3 else ''}", flush=True)
            run_one(root, path, results, f"{number}/{len(paths)} {path.stem}", folder)
            ran.append(path.stem)
    return ran


def remove_leftovers(build: Path, names: set[str]) -> None:
    """Drop executed copies and results of notebooks that are no longer there: others would read them."""
    for path in [*(build / "executed").glob("*.ipynb"), *(build / "results").glob("*.json")]:
        if path.stem not in names:
            path.unlink()


def reasons(root: Path, path: Path, results: Path, folder: str = "_build") -> list[str]:
    """Why a notebook has to run, in words; empty where its executed copy is up to date."""
    copy = executed_copy(root, path, folder)
    try:
        stamp = json.loads(copy.read_text(encoding="utf-8"))["metadata"][STAMP]
    except (OSError, ValueError, KeyError):
        return ["not run yet"]
    changes = inputs.of_notebook(root, path, results).changes_since(stamp)
    if inputs.of_file(results / f"{path.stem}.json") != stamp["recorded"]:
        changes.append("its own results are gone or were changed")
    return changes


def run_one(root: Path, path: Path, results: Path, label: str, folder: str = "_build") -> None:
    """Run a notebook and keep the executed copy with its stamp; BuildError where a cell fails."""
    import execution  # takes seconds to import, and a call with nothing to do needs it not

    before, start = inputs.of_notebook(root, path, results), time.monotonic()
    try:
        notebook = execution.execute(path, label, results)
    except PapermillExecutionError as error:
        raise BuildError(f"{error}\n{path.stem}: cell {error.cell_index + 1} failed") from None
    except DeadKernelError as error:
        raise BuildError(f"{path.stem}: {error}") from None
    seconds = time.monotonic() - start
    recorded = inputs.of_file(results / f"{path.stem}.json")
    notebook.metadata[STAMP] = asdict(before) | {"recorded": recorded, "seconds": round(seconds, 1)}
    execution.write(notebook, executed_copy(root, path, folder))
    print(f"{path.stem}: done in {seconds:.0f} s", flush=True)


def save_notebooks(root: Path, names: list[str]) -> None:
    """Run notebooks, all or those named, and save their outputs into ``notebooks/``."""
    import execution
    import nbformat

    known = {path.stem: path for path in inputs.notebooks(root)}
    wanted = {Path(name).stem for name in names} or set(known)
    if wanted - known.keys():
        raise BuildError(f"no such notebook: {', '.join(sorted(wanted - known.keys()))}")
    run_notebooks(root, force=wanted)
    tolerances = comparison.read_tolerances(root)
    for path in known.values():
        copy = nbformat.read(executed_copy(root, path), as_version=4)
        del copy.metadata[STAMP]
        source = nbformat.read(path, as_version=4)
        for number, (cell, executed) in enumerate(zip(code(source), code(copy), strict=True), start=1):
            tell_changes(
                f"{path.stem}, code cell {number}", cell, executed, tolerances.get((path.stem, cell.id))
            )
            cell.outputs, cell.execution_count = executed.outputs, executed.execution_count
        execution.write(execution.normalise(source), path)


def tell_changes(where: str, committed, executed, tolerances: comparison.Tolerances | None) -> None:
    """Print every compared number and every verdict or other words that a new run changes in a notebook."""
    if committed.execution_count is None:
        return
    for change in comparison.differences(committed.outputs, executed.outputs, tolerances or {}):
        print(f"{where}: {change}")


def code(notebook):
    """Code cells of a notebook."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def render_if_changed(root: Path) -> Path:
    """Render the pages unless nothing that they are made from changed; returns the page to open."""
    stamp, page = root / "_build" / "pages.sha256", root / "_build" / "html" / "index.html"
    now = page_inputs(root)
    if not (page.is_file() and stamp.is_file() and stamp.read_text() == now):
        stamp.unlink(missing_ok=True)  # warnings of a failed build would not show again in the next one
        page = render(root, root, copies=root / "_build" / "executed")
        stamp.write_text(now)
    return page


def page_inputs(root: Path) -> str:
    """Fingerprint of everything that pages are made from."""
    files = [root / name for name in ("_config.yml", "_toc.yml", "requirements.lock", "README.md")]
    for pattern in ("book/**/*", "notebooks/*.ipynb", "vdslib/**/*.py", "data/*", "_build/executed/*.ipynb"):
        files += [path for path in sorted(root.glob(pattern)) if "__pycache__" not in path.parts]
    return inputs.digest(*(f"{path.relative_to(root)} {inputs.of_file(path)}" for path in files))


def render(root: Path, output: Path, copies: Path | None) -> Path:
    """Strict build of the book into ``output/_build/html``; returns the page to open.

    ``copies`` holds executed copies whose outputs replace those in the notebooks. Everything is read anew: an
    incremental build keeps glued values of other pages.
    """
    print("rendering the pages", flush=True)
    command = [str(Path(sys.executable).with_name("jupyter-book")), "build", str(root), "--all", "-q"]
    command += ["-W", "-n", "--keep-going", "--path-output", str(output)]
    environment = os.environ | {"VDS_EXECUTED": str(copies or "")}
    # standard output is only a box that says where the pages are, in many lines; warnings come on stderr
    finished = subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False)
    if finished.returncode:
        raise BuildError("the pages could not be rendered without warnings; see above")
    return output / "_build" / "html" / "index.html"


if __name__ == "__main__":
    raise SystemExit(main())
