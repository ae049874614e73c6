"""Readings of the paper that no measurement decides, from ``readings.yaml``: promises, references, where it leaks."""

from importlib import resources
from typing import NamedTuple

import yaml


class Promise(NamedTuple):
    """What the paper announces, in which section, what became of it there, and what this book does."""

    promise: str
    section: str
    paper: str
    book: str


class Reference(NamedTuple):
    """A reference by its number: what the text cites it for, what it is about, whether the two meet.

    ``fits`` is "yes", "in part" or "no", judged by title and abstract.
    """

    number: int
    work: str
    cited_for: str
    about: str
    fits: str


_rows = yaml.safe_load(resources.files("vdslib.claims").joinpath("readings.yaml").read_text(encoding="utf-8"))
LEAKS: dict[str, str] = _rows["leaks"]  # by the name of a leak, where the paper has it
PROMISES = tuple(Promise(**row) for row in _rows["promises"])
REFERENCES = tuple(Reference(**row) for row in _rows["references"])
