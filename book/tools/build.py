"""Make the book: run what is out of date, then render the pages.

    python book/tools/build.py book               what `make book` does
    python book/tools/build.py notebooks [NAME..] what `make notebooks` does: run, then save into notebooks/
    python book/tools/build.py pages FOLDER       the pages alone, from the outputs that the notebooks carry

An executed copy in ``_build/executed`` carries the fingerprints of the inputs it was made from in its metadata, so
that copy and stamp cannot be out of step.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import comparison
import inputs
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError

from vdslib import files

ROOT = files.root()


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


def executed_copy(root: Path, path: Path) -> Path:
    """Where the executed copy of a notebook is kept."""
    return inputs.executed_copy(root, path)


def run_notebooks(root: Path, force: set[str] | None = None) -> list[str]:
    """Run every notebook that is out of date, or is in ``force``, until none is; returns the names of those that ran.

    One whose results another notebook read before runs first. Who reads whose is known once they ran: a notebook that
    ran too early is out of date as soon as the results are there that it missed, and runs again. Raises BuildError
    where notebooks read each other's results in a circle.
    """
    (root / inputs.RESULTS).mkdir(parents=True, exist_ok=True)
    remove_leftovers(root)
    ran: list[str] = []
    while due := next_due(root, set(force or ()) - set(ran)):
        path, why = due
        name, total = path.stem, len(inputs.notebooks(root))
        if ran.count(name) > total:
            raise BuildError(
                f"{name} changes what it depends on itself, so that it is never done: {', '.join(why)}"
            )
        print(f"{name}: {', '.join(why[:3])}{' ...' if len(why) > 3 else ''}", flush=True)
        run_one(root, path, f"{len(set(ran) | {name})}/{total} {name}")
        ran.append(name)
    return ran


def next_due(root: Path, forced: set[str]) -> tuple[Path, list[str]] | None:
    """The first notebook that has to run, and why; None where none has to."""
    why = {
        path: reasons(root, path) or (["asked for"] if path.stem in forced else [])
        for path in inputs.notebooks(root)
    }
    # what a notebook read that is to run for other reasons than results may be what it will not read again
    settled = [path for path, words in why.items() if all(inputs.is_result(word) for word in words)]
    stamps = {path.stem: inputs.read_stamp(root, path) for path in settled}
    _, circle = inputs.order(list(stamps), inputs.readers(stamps))
    if circle:
        raise BuildError(f"these notebooks read each other's results in a circle: {', '.join(circle)}")
    return next(((path, words) for path, words in why.items() if words), None)


def remove_leftovers(root: Path) -> None:
    """Drop executed copies of notebooks that are no longer there, and results that none recorded: others would read
    them."""
    paths = inputs.notebooks(root)
    names = {path.name for path in paths}
    for copy in (root / inputs.BUILD / "executed").glob("*.ipynb"):
        if copy.name not in names:
            copy.unlink()
    stamps = [inputs.read_stamp(root, path) for path in paths]
    recorded = {name for stamp in stamps if stamp for name in stamp.recorded}
    for result in (root / inputs.RESULTS).glob("*.json"):
        if result.stem not in recorded:
            result.unlink()


def reasons(root: Path, path: Path) -> list[str]:
    """Why a notebook has to run, in words; empty where its executed copy is up to date."""
    stamp = inputs.read_stamp(root, path)
    return ["not run yet"] if stamp is None else stamp.reasons(root, path)


def run_one(root: Path, path: Path, label: str) -> None:
    """Run a notebook and keep the executed copy with its stamp; BuildError where a cell fails."""
    import execution  # takes seconds to import, and a call with nothing to do needs it not

    before, start, results = inputs.Inputs.of(root, path), time.monotonic(), root / inputs.RESULTS
    earlier = inputs.read_stamp(root, path)
    for name in earlier.recorded if earlier else ():  # no chapter reads what it recorded itself
        (results / f"{name}.json").unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix="vds-") as folder:
        log = Path(folder) / "opened"
        try:
            notebook = execution.execute(path, label, results, inputs.recording(root, log))
        except PapermillExecutionError as error:
            raise BuildError(f"{error}\n{path.stem}: cell {error.cell_index + 1} failed") from None
        except DeadKernelError as error:
            raise BuildError(f"{path.stem}: {error}") from None
        seconds, stamp = time.monotonic() - start, inputs.stamp_of(root, path, before, log)
    notebook.metadata[inputs.STAMP] = asdict(stamp) | {"seconds": round(seconds, 1)}
    execution.write(notebook, executed_copy(root, path))
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
        del copy.metadata[inputs.STAMP]
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
