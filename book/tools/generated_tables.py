"""Sphinx extension: the reference pages are written by what they describe.

A line ``<!-- generated: NAME -->`` in a page is replaced, when the page is read, by Markdown made from vdslib
or from the notebooks. Nothing is written to disk, so a table cannot fall behind its source; the sources are
noted as dependencies, so the page is built again when one of them changes.

The bibliography's style ``place`` lists references by their field of that name: the paper's own numbering.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pandas as pd
from pybtex.plugin import register_plugin
from pybtex.style.formatting.unsrt import Style
from pybtex.style.sorting import BaseSortingStyle

import vdslib
from vdslib import experiments, files, telemetry
from vdslib import sources as origins
from vdslib.files import markdown as table

MARKER = re.compile(r"^<!-- generated: ([a-z ]+) -->$", re.MULTILINE)


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
    """A section for each room, in the order of the map in vdslib's docstring, written by Sphinx's autodoc."""
    parts = []
    for room in re.findall(r"^- ``(\w+)``: ", vdslib.__doc__ or "", re.MULTILINE):
        face = importlib.import_module(f"vdslib.{room}")
        modules_of_room = {path.stem for path in (package() / room).glob("*.py")}
        within = [
            name
            for name in face.__all__
            if name in modules_of_room and not callable(getattr(face, name, None))
        ]
        parts.append(f"## `vdslib.{room}`\n\n{_automodule(f'vdslib.{room}', [])}")
        parts += [_automodule(f"vdslib.{room}.{name}", face.__all__) for name in within]
    return "\n\n".join(parts)


def _automodule(name: str, told: Iterable[str]) -> str:
    """The directive for a module, without names that its room's face has told already."""
    left_out = f"\n   :exclude-members: {', '.join(told)}" if told else ""
    return f"```{{eval-rst}}\n.. automodule:: {name}\n   :members:{left_out}\n```"


def modules() -> list[Path]:
    """The files that the library page is made from."""
    return sorted(package().rglob("*.py"))


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
    "data dictionary": (data_dictionary, lambda: [package() / "telemetry" / "schema.py"]),
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
