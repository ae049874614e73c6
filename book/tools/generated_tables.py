"""Sphinx extension: the reference pages are written by what they describe.

A line ``<!-- generated: NAME -->`` in a page is replaced, when the page is read, by Markdown made from vdslib
or from the notebooks. Nothing is written to disk, so a table cannot fall behind its source; the sources are
noted as dependencies, so the page is built again when one of them changes.

The bibliography's style ``place`` lists references by their field of that name: the paper's own numbering.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from pybtex.plugin import register_plugin
from pybtex.style.formatting.unsrt import Style
from pybtex.style.sorting import BaseSortingStyle

from vdslib import experiments, files, telemetry
from vdslib import sources as origins
from vdslib.files import markdown as table

MARKER = re.compile(r"^<!-- generated: ([a-z ]+) -->$", re.MULTILINE)

# Reading order of the modules: they follow the data. A module that is not named here comes after these.
MODULES = (
    "files",
    "tables",
    "errors",
    "forms",
    "numerals",
    "times",
    "schema",
    "checking",
    "units",
    "damage",
    "repair",
    "reading",
    "telemetry",
    "gwa",
    "partition",
    "store",
    "sources",
    "testbed",
    "guards",
    "windows",
    "scaling",
    "preparation",
    "dirty",
    "models",
    "stacked",
    "engine",
    "trainable",
    "training",
    "history",
    "seasons",
    "baselines",
    "classical",
    "intervals",
    "quantiles",
    "evaluation",
    "significance",
    "uncertainty",
    "standings",
    "forecastability",
    "splits",
    "leaks",
    "planted_leaks",
    "same_rows",
    "generalisation",
    "load_states",
    "fingerprints",
    "handing",
    "experiments",
    "places",
    "scales",
    "lost",
    "runs",
    "results",
    "mlflow_export",
    "worker",
    "sweep",
    "verdicts",
    "judging",
    "statements",
    "audits",
    "claims",
    "describe",
    "diagrams",
    "plots",
    "effects",
    "overview",
    "hyperparameters",
    "importing",
    "cli",
)


def package() -> Path:
    """The folder of vdslib."""
    return files.root() / "vdslib"


def chapters() -> list[Path]:
    """The chapters, in the order of their names."""
    return sorted((files.root() / "notebooks").glob("*.ipynb"))


# ------------------------------------------------------------------------------------- data dictionary


def data_dictionary() -> str:
    """The columns of the canonical telemetry, from the schema that checks every file."""
    rows = []
    for row in telemetry.data_dictionary().to_dict("records"):
        rule = "required" if row["required"] == "yes" else "optional"
        rule += ", may be empty" if row["may be empty"] == "yes" else ""
        rows.append(
            [f"`{row['column']}`", row["unit"] or "-", row["meaning"], rule, row["over all nodes"] or "-"]
        )
    return table(["column", "unit", "meaning", "rule", "over all nodes"], rows)


# ---------------------------------------------------------------------------------------------- sources


def source_tables() -> str:
    """The registered sources: a table of what they are, and what must be cited."""
    known = origins.sources()
    rows = [
        [
            f"`{source.name}`",
            _prose(source.title),
            f"`{source.example}`",
            f"`{source.default_target}`" if source.default_target else "depends",
            _prose(source.terms) or "-",
        ]
        for source in known
    ]
    cited = [f"- `{source.name}`: {_prose(source.citation)}" for source in known if source.citation]
    return "\n".join(
        [table(["name", "what", "example", "target", "terms"], rows), "\nWhat must be cited:\n", *cited]
    )


# --------------------------------------------------------------------------------- parameter reference


def parameter_tables() -> str:
    """One section for each chapter with the table of its parameters, from its parameters cell."""
    return "\n\n".join(_chapter_parameters(path) for path in chapters())


def _chapter_parameters(path: Path) -> str:
    rows = [
        [
            f"`{p.name}`",
            f"`{p.type}`",
            f"`{p.default!r}`",
            p.limits() or "any",
            p.meaning,
        ]
        for p in experiments.parameters(path)
    ]
    heading = f"## `{path.stem}`\n\nChapter [](../notebooks/{path.name})."
    return f"{heading}\n\n{table(['name', 'type', 'default', 'allowed', 'meaning'], rows)}"


# --------------------------------------------------------------------------------------- API reference


def numerics_table() -> str:
    """How many numbers of each notebook training touches, how many are noise, and what moves most of the others."""
    measured = pd.read_csv(files.root() / "data" / "numerics.csv")
    rows = []
    for notebook, numbers in measured.groupby("notebook"):
        compared = numbers.dropna(subset="tolerance")
        largest = compared.loc[compared["range"].idxmax()] if len(compared) else None
        rows.append(
            [
                f"[](../notebooks/{notebook}.ipynb)",
                str(len(numbers)),
                str(len(numbers) - len(compared)),
                "none"
                if largest is None
                else f"{largest['range']:.2%}, of {float(str(largest['value']).replace(',', '')):.4g}",
                "none" if largest is None else f"{compared['range'].median():.2%}",
            ]
        )
    names = ["notebook", "numbers out of training", "of them noise", "largest range compared", "median range"]
    return table(names, rows)


def api_reference() -> str:
    """A section for each public module: what it is for, a table of its names, each with its docstring."""
    return "\n\n".join(_module(path) for path in modules())


def modules() -> list[Path]:
    """Modules of vdslib in reading order, those that begin with an underscore left out."""
    paths = [path for path in package().rglob("*.py") if not path.stem.startswith("_") or _offers(path)]

    def place(path: Path) -> tuple[int, str]:
        top = path.relative_to(package()).parts[0].removesuffix(".py")
        return (MODULES.index(top) if top in MODULES else len(MODULES), str(path))

    return sorted(paths, key=place)


def _offers(path: Path) -> bool:
    """Whether a package defines something itself."""
    return path.name == "__init__.py" and any(public_objects(ast.parse(path.read_text(encoding="utf-8"))))


def _module(path: Path) -> str:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    name = ".".join(path.relative_to(package().parent).with_suffix("").parts).removesuffix(".__init__")
    public = list(public_objects(tree))
    parts = [f"## `{name}`", _prose(ast.get_docstring(tree) or "")]
    if public:
        rows = [[f"`{node.name}`", _first_sentence(node)] for node in public]
        parts.append(table(["name", "what it is"], rows))
        stubs = "\n\n\n".join(stub(node) for node in public)
        parts.append(f"`````{{code-block}} python\n{stubs}\n`````")
    return "\n\n".join(part for part in parts if part)


def public_objects(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.ClassDef]:
    """Functions and classes in ``__all__`` if a module has one, else those without a leading underscore."""
    names = None
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(
            getattr(target, "id", "") == "__all__" for target in node.targets
        ):
            names = ast.literal_eval(node.value)
    for node in tree.body:
        if not isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            continue
        if node.name in names if names is not None else not node.name.startswith("_"):
            yield node


def stub(node: ast.FunctionDef | ast.ClassDef) -> str:
    """Signature and docstring; of a class also its fields and its public methods."""
    if isinstance(node, ast.FunctionDef):
        return _signature(node) + _docstring(node)
    bases = ", ".join(ast.unparse(base) for base in node.bases)
    head = f"class {node.name}{f'({bases})' if bases else ''}:"
    lines = [_decorators(node) + head + _docstring(node)]
    for member in node.body:
        if isinstance(member, ast.AnnAssign) and not ast.unparse(member.target).startswith("_"):
            lines.append(_indent(ast.unparse(member)))
        if isinstance(member, ast.FunctionDef) and not member.name.startswith("_"):
            lines.append("\n" + _indent(stub(member)))
    return "\n".join(lines)


def _signature(node: ast.FunctionDef) -> str:
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    line = f"def {node.name}({ast.unparse(node.args)}){returns}:"
    if len(line) > 76:  # too wide for a page: one argument a line
        wide = "\n".join(f"    {argument}," for argument in _arguments(node.args))
        line = f"def {node.name}(\n{wide}\n){returns}:"
    return _decorators(node) + line


def _decorators(node: ast.FunctionDef | ast.ClassDef) -> str:
    return "".join(f"@{ast.unparse(item)}\n" for item in node.decorator_list)


def _arguments(arguments: ast.arguments) -> list[str]:
    """The arguments as written, one string each (split at commas outside brackets)."""
    text, depth, parts = ast.unparse(arguments), 0, [""]
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]


def _docstring(node: ast.FunctionDef | ast.ClassDef) -> str:
    text = "\n\n".join(_narrow(part) for part in (ast.get_docstring(node) or "").split("\n\n"))
    return (
        "\n" + _indent(f'"""{text}{chr(10) if text and chr(10) in text else ""}"""') if text else "\n    ..."
    )


def _narrow(paragraph: str) -> str:
    """A paragraph broken into lines that fit on a page; lists and examples as they are."""
    lines = paragraph.splitlines()
    if any(re.match(r"\s|[-*>] ", line) for line in lines):
        return paragraph
    return textwrap.fill(" ".join(lines), 66, break_long_words=False, break_on_hyphens=False)


def _indent(text: str) -> str:
    return "\n".join(f"    {line}" if line else "" for line in text.split("\n"))


def _first_sentence(node: ast.FunctionDef | ast.ClassDef) -> str:
    """What a docstring says up to the first stop, colon or semicolon outside brackets."""
    paragraph = " ".join((ast.get_docstring(node) or "").split("\n\n")[0].split())
    end = len(paragraph)
    for stop in re.finditer(r"[.;:](?=\s)", paragraph):
        before = paragraph[: stop.start()]
        if before.count("(") == before.count(")") and before.count("[") == before.count("]"):
            end = stop.start()
            break
    return _prose(paragraph[:end].rstrip(".;: "))


def _prose(text: str) -> str:
    """A docstring as Markdown: code in single backquotes, nothing else that Markdown takes for markup."""
    text = inspect.cleandoc(text).replace("``", "`")
    pieces = re.split(r"(`[^`]*`)", text)
    return "".join(
        piece if piece.startswith("`") else re.sub(r"([<>*_\[\]])", r"\\\1", piece) for piece in pieces
    )


# ---------------------------------------------------------------------------------------------- Sphinx

# name in the marker: the function that writes it, the files it is made from
GENERATED: dict[str, tuple[Callable[[], str], Callable[[], list[Path]]]] = {
    "data dictionary": (data_dictionary, lambda: [package() / "schema.py"]),
    "parameters": (parameter_tables, chapters),
    "sources": (source_tables, lambda: sorted((package() / "sources").glob("*.py"))),
    "numerics": (numerics_table, lambda: [package().parent / "data" / "numerics.csv"]),
    "api": (api_reference, modules),
}


def fill(app: Any, docname: str, content: list[str]) -> None:
    """Replace the markers of a page and note what it now depends on (event ``source-read``)."""

    def write(match: re.Match[str]) -> str:
        if match[1] not in GENERATED:
            raise ValueError(f"{docname}: nothing is called {match[1]!r}; there are {', '.join(GENERATED)}")
        make, sources = GENERATED[match[1]]
        for path in [Path(__file__), *sources()]:
            app.env.note_dependency(str(path))
        return make()

    if docname.startswith("book/"):
        content[0] = MARKER.sub(write, content[0])


class Place(BaseSortingStyle):
    """Order of a bibliography by the field ``place`` of its entries."""

    def sort(self, entries: Any) -> list[Any]:
        return sorted(entries, key=lambda entry: int(entry.fields["place"]))


class ByPlace(Style):
    """A style of bibliography in that order."""

    default_sorting_style = "place"


def setup(app: Any) -> dict[str, bool]:
    """Connect to Sphinx."""
    register_plugin("pybtex.style.sorting", "place", Place)
    register_plugin("pybtex.style.formatting", "place", ByPlace)
    app.connect("source-read", fill)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
