"""Notebooks as experiments: their parameters, one checked run, and the results that chapters hand on.

A notebook has one cell tagged ``parameters`` whose lines read ``name: type = default  # meaning``. That cell is
the only place where a parameter is declared: what ``vds params`` lists, what a run is checked against and what
papermill replaces all come from it. The meaning may end in an agreed form that limits the values:
``[first | second]`` for choices, ``[low .. high]`` for a range, either side of which may be left open, and ``[file]``
for a file that must be there, unless the value is the default.
"""

import ast
import difflib
import io
import json
import math
import re
import sys
import tokenize
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from vdslib.errors import NotebookError, ParameterError, family
from vdslib.files import root


@dataclass(frozen=True)
class Parameter:
    """One line of a parameters cell.

    ``type`` is the annotation as written (``int``, ``list[str]``, ``float | None`` ...); ``choices``, ``low``,
    ``high`` and ``file`` come from the agreed form at the end of the comment.
    """

    name: str
    type: str
    default: Any
    meaning: str
    choices: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    file: bool = False

    def limits(self) -> str:
        """The allowed values in words; empty where the type alone decides."""
        if self.file:
            return "an existing file"
        if self.choices:
            return "one of " + ", ".join(self.choices)
        if self.low is not None and self.high is not None:
            return f"from {self.low:g} to {self.high:g}"
        if self.low is not None:
            return f"at least {self.low:g}"
        return f"at most {self.high:g}" if self.high is not None else ""


def find(notebook: str | Path) -> Path:
    """The file of a notebook given by path or by the name of a chapter (``3-3-experiment``).

    Raises NotebookError, with the names of all chapters, where there is none.
    """
    folder = root() / "notebooks"
    name = str(notebook)
    for candidate in (Path(name), folder / name, folder / f"{name}.ipynb"):
        if candidate.is_file():
            return candidate
    near = difflib.get_close_matches(Path(name).stem, chapters(), n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise NotebookError(f"there is no notebook {name!r}{hint}\nThe chapters are: {', '.join(chapters())}")


def parameters(notebook: str | Path) -> list[Parameter]:
    """Parameters of a notebook, in the order of its cell tagged ``parameters``; NotebookError where it has none."""
    path = find(notebook)
    for cell in read(path)["cells"]:
        if cell["cell_type"] == "code" and "parameters" in cell["metadata"].get("tags", []):
            return parse("".join(cell["source"]), str(path))
    raise NotebookError(f"{path} has no cell tagged 'parameters', so no parameter of it can be set")


def read(path: str | Path) -> dict[str, Any]:
    """Content of a notebook file as JSON; NotebookError where it is not a notebook of version 4.

    nbformat would check more, but takes a second to import, which every kernel that uses vdslib would pay.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise NotebookError(f"{path} is not a notebook: {error}") from error
    cells = content.get("cells") if isinstance(content, dict) else None
    whole = isinstance(cells, list) and all(
        isinstance(cell, dict) and {"cell_type", "metadata", "source"} <= cell.keys() for cell in cells
    )
    if not whole:
        raise NotebookError(f"{path} is not a notebook of format 4: it has no list of cells")
    return content


def parse(source: str, origin: str = "parameters cell") -> list[Parameter]:
    """Parameters declared in the text of a parameters cell; NotebookError names a line that declares none."""
    try:
        statements = ast.parse(source).body
    except SyntaxError as error:
        raise NotebookError(f"{origin}: line {error.lineno} is not Python: {error.msg}") from None
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {
        token.start[0]: re.sub(r"\s*# fmt: skip$", "", token.string).lstrip("# ")  # a word to the formatter
        for token in tokens
        if token.type == tokenize.COMMENT
    }
    declared = []
    for statement in statements:
        if not (
            isinstance(statement, ast.AnnAssign)
            and isinstance(statement.target, ast.Name)
            and statement.value
        ):
            raise NotebookError(
                f"{origin}: line {statement.lineno} is not of the form 'name: type = default'"
            )
        try:
            default = ast.literal_eval(statement.value)
        except ValueError:
            raise NotebookError(
                f"{origin}: line {statement.lineno}: the default of {statement.target.id} is computed; write its value, "
                "and compute in a later cell"
            ) from None
        lines = range(statement.lineno, (statement.end_lineno or statement.lineno) + 1)
        comment = " ".join(comments[line] for line in lines if line in comments)
        declared.append(
            Parameter(statement.target.id, ast.unparse(statement.annotation), default, **_limits(comment))
        )
    return declared


def _limits(comment: str) -> dict[str, Any]:
    """Meaning and limits of a parameter from its comment; what ends in no agreed form is meaning alone."""
    match = re.fullmatch(r"(.*?)\s*\[([^\[\]]*)\]\s*", comment)
    form = match[2].strip() if match else ""
    limits: dict[str, Any] = {}
    if form == "file":
        limits = {"file": True}
    elif ".." in form:
        limits = _range(form)
    elif "|" in form and all(choice.strip() for choice in form.split("|")):
        limits = {"choices": tuple(choice.strip() for choice in form.split("|"))}
    return {"meaning": match[1] if match and limits else comment.strip(), **limits}


def _range(form: str) -> dict[str, float | None]:
    """The sides of ``low .. high``; empty where they are no numbers, such as those of a reference, or none is there."""
    try:
        low, high = (float(side) if side.strip() else None for side in form.split(".."))
    except ValueError:
        return {}
    sides = [side for side in (low, high) if side is not None]
    # a range from high to low, or of no number at all, would refuse every value or none
    return (
        {"low": low, "high": high} if sides and sides == sorted(sides) and not math.isnan(sum(sides)) else {}
    )


def check(notebook: str | Path, values: Mapping[str, Any]) -> dict[str, Any]:
    """Given values, checked against a notebook's parameters and turned into their types.

    Strings, as they come from a command line, are read as the type says. Raises ParameterError that names the
    first fault and lists what is valid.
    """
    return check_against(parameters(notebook), values, find(notebook).stem)


def check_against(declared: Sequence[Parameter], values: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What ``check`` does, for the declared parameters of the notebook ``name``."""
    known = {parameter.name: parameter for parameter in declared}
    checked = {}
    for key, value in values.items():
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            listed = "\n".join(f"  {line}" for line in describe(declared))
            raise ParameterError(f"{name} has no parameter {key!r}{hint}\nIts parameters are:\n{listed}")
        checked[key] = coerce(known[key], value)
    return checked


def describe(declared: Any) -> list[str]:
    """One line of text for each parameter: name, type, default, meaning, limits."""
    rows = [
        (p.name, p.type, repr(p.default), p.meaning + (f" ({p.limits()})" if p.limits() else ""))
        for p in declared
    ]
    widths = [max((len(row[i]) for row in rows), default=0) for i in range(2)]
    return [
        f"{name:{widths[0]}}  {kind:{widths[1]}}  {meaning}; default {default}"
        for name, kind, default, meaning in rows
    ]


def coerce(parameter: Parameter, value: Any) -> Any:
    """A value as the type of its parameter, within its limits; ParameterError where that cannot be."""
    kinds = [kind.strip() for kind in parameter.type.split("|")]
    if "None" in kinds and (value is None or str(value).strip().lower() in ("none", "null")):
        return None
    kind = next(kind for kind in kinds if kind != "None")
    try:
        result = _convert(kind, value, parameter.default)
    except (TypeError, ValueError, yaml.YAMLError):
        raise ParameterError(_refusal(parameter, value)) from None
    named = parameter.file and result != parameter.default and isinstance(result, str)
    if named and not Path(result).is_file():
        looked = f"there is no file {Path(result).absolute()}"
        raise ParameterError(
            f"parameter {parameter.name}: {value!r} is not valid; {looked}: {parameter.meaning}"
        )
    for item in result if isinstance(result, list) else [result]:
        outside = isinstance(item, (int, float)) and (
            (parameter.low is not None and item < parameter.low)
            or (parameter.high is not None and item > parameter.high)
        )
        if outside or (parameter.choices and str(item) not in parameter.choices):
            raise ParameterError(_refusal(parameter, value))
    return result


def _refusal(parameter: Parameter, value: Any) -> str:
    limits = f", {parameter.limits()}" if parameter.limits() else ""
    return f"parameter {parameter.name}: {value!r} is not valid; it is {parameter.type}{limits}: {parameter.meaning}"


def _convert(kind: str, value: Any, default: Any) -> Any:
    """A value as ``kind``; ValueError or TypeError where it is not one."""
    if kind.startswith("list"):
        items = yaml.safe_load(value) if isinstance(value, str) and value.strip().startswith("[") else value
        if isinstance(items, str):
            items = [item.strip() for item in items.split(",") if item.strip()]
        if not isinstance(items, (list, tuple)):
            raise TypeError
        inner = re.fullmatch(r"list\[(\w+)\]", kind)
        sample = next(iter(default), "") if isinstance(default, list) else ""
        return [_convert(inner[1] if inner else type(sample).__name__, item, None) for item in items]
    if kind == "bool":
        truth = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        if isinstance(value, bool):
            return value
        return (
            truth[value.strip().lower()]
            if isinstance(value, str) and value.strip().lower() in truth
            else _fail()
        )
    if isinstance(value, (bool, list, dict)) or value is None:
        raise TypeError
    if kind == "int":
        return int(value) if isinstance(value, (int, str)) or float(value).is_integer() else _fail()
    if kind == "float":
        number = float(value)
        return number if math.isfinite(number) else _fail()
    return str(value)


def _fail() -> Any:
    raise ValueError


def run(
    notebook: str | Path,
    values: Mapping[str, Any],
    output: str | Path,
    *,
    progress: bool | None = None,
    environment: Mapping[str, str] | None = None,
) -> Path:
    """Execute a notebook with papermill and save the executed copy as ``output``, which is returned.

    ``values`` are checked first (see ``check``); nothing is started where they are refused. The kernel talks over IPC
    sockets in a folder of its own, so that any number of runs may go on side by side. ``progress`` shows a bar of
    cells on stderr; by default where that is a terminal. ``environment`` has variables for the kernel beside those
    of this process. Raises NotebookError where a cell fails: with the message
    alone for errors of ours, else with the traceback.
    """
    values = check(notebook, values)
    # papermill takes seconds to import, and listing parameters does not need it
    import papermill
    from nbclient.exceptions import DeadKernelError
    from papermill.exceptions import PapermillExecutionError

    from vdslib.experiments import kernel

    source, target = find(notebook), Path(output)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise NotebookError(f"cannot save the executed copy as {target}: {error.strerror}") from None
    with kernel.folder() as sockets:
        try:
            papermill.execute_notebook(
                str(source),
                str(target),
                parameters=values,
                progress_bar=sys.stderr.isatty() if progress is None else progress,
                kernel_name="python3",
                language="python",
                kernel_manager_class=kernel.Kernel,
                config=kernel.settings(sockets, environment or {}),
            )
        except PapermillExecutionError as error:
            if error.ename in family():
                raise NotebookError(error.evalue) from None
            raise NotebookError(f"{source.stem}: {error}") from None
        except DeadKernelError as error:  # often for want of memory
            raise NotebookError(f"{source.stem}: {error}{kernel.last_words(sockets)}") from None
    return target


def chapters(project: Path | None = None) -> list[str]:
    """Names of the project's notebooks in reading order: that of ``_toc.yml``, then what is not in it by name."""
    project = project or root()
    toc = project / "_toc.yml"
    listed = re.findall(r"file: notebooks/(\S+)", toc.read_text(encoding="utf-8")) if toc.is_file() else []
    there = sorted(path.stem for path in (project / "notebooks").glob("*.ipynb"))
    return sorted(there, key=lambda name: listed.index(name) if name in listed else len(listed))


def from_on(notebook: Path) -> set[str]:
    """A notebook and, where it is a chapter, those that come after it in the book."""
    names = chapters() if notebook.resolve().parent == root() / "notebooks" else []
    return set(names[names.index(notebook.stem) :]) if notebook.stem in names else {notebook.stem}
