"""The pages of the book and the prose of its chapters, for the tests that read them."""

import re

import nbformat

from vdslib import files

ROOT = files.root()
BOOK = ROOT / "book"
PAGES = sorted(BOOK.glob("*.md"))
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def text_of(path):
    """The prose of a page or of a notebook's Markdown cells."""
    if path.suffix == ".ipynb":
        cells = nbformat.read(path, as_version=4).cells
        return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    return path.read_text(encoding="utf-8")


def blocks(path, language):
    """Contents of the fenced blocks of a language in a page."""
    return re.findall(
        rf"^```{language}\n(.*?)^```$", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
