"""How two runs of a notebook are compared: words exactly, each number as what it is.

A number that no training touches (an error of ridge regression, a count of rows) must come out again to six digits. One
that comes out of training moves with the rounding of the processor; how far was measured by `make numerics`, and
``data/numerics.csv`` holds the tolerance that follows for each such number. Where it moves by more than 8%, it is noise
and not compared as a number; the verdicts and counts that it leads to are.
"""

from __future__ import annotations

import csv
import difflib
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DETERMINISTIC = 1e-6  # relative tolerance of numbers that do not come out of training
NOTHING = 1e-12  # a float below this is rounding around zero
# Digits inside of names (lstm_1, T05Z) are text. Thousands may have commas; a full stop belongs to the number where
# digits follow or, as numpy prints "[1. 0.]", a further number or a bracket.
NUMBER = re.compile(
    r"(?<![\w.])(?:(?<![\w)\]])[-+])?"
    r"(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+|\.(?=\s*[-\d\]]))?|\.\d+)"
    r"(?:[eE][-+]?\d+)?"
)
PICTURE = re.compile(r"image/")

Place = tuple[str, int]
"""Where a number stands in the outputs of a cell: the output's name and the number's place in it, from 0."""
Tolerances = Mapping[Place, float | None]
"""Relative tolerances of numbers that come out of training; None for noise."""


@dataclass(frozen=True)
class Difference:
    """One number, or the words of one output, that did not come out as before; `tolerance` None for words."""

    output: str
    line: str
    old: str
    new: str
    tolerance: float | None = None

    def __str__(self) -> str:
        if self.tolerance is None:
            return f"{self.output}: words: {self.old!r} became {self.new!r}"
        return f"{self.output}: {self.line!r}: {self.old} became {self.new} (tolerance {self.tolerance:.2g})"


def value(number: str) -> float:
    """The value of a number as it is written."""
    return float(number.replace(",", ""))


def is_whole(number: str) -> bool:
    """Is it written without a fraction?"""
    return not re.search(r"[.eE]", number)


def resolution(number: str) -> float:
    """One unit of the last digit that is written, as a share of the value; 0 for what Python writes in full."""
    mantissa, _, exponent = number.lower().replace(",", "").lstrip("+-").partition("e")
    decimals = len(mantissa.partition(".")[2])
    if len(mantissa.replace(".", "").strip("0")) > 9:
        return 0.0
    size = abs(value(number))
    return 10.0 ** (int(exponent or 0) - decimals) / size if size else math.inf


def split(text: str) -> tuple[str, list[str]]:
    """A text with its numbers masked and the padding that depends on their width taken out, and the numbers."""
    masked = re.sub(r"[ \t]+|(?<=-)-+", "", NUMBER.sub("\0", text))
    return masked, NUMBER.findall(text)


def texts(outputs: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """What a cell printed, showed and glued, as texts by name; pictures by the digest that is printed with them.

    A table is both text and HTML; the HTML is left out where the text has all its numbers.
    """
    named: dict[str, str] = {}
    seen: Counter[str] = Counter()

    def add(name: str, text: Any) -> None:
        seen[name] += 1
        text = text if isinstance(text, str) else repr(text)
        named[name if seen[name] == 1 else f"{name} {seen[name]}"] = text

    for output in outputs:
        if "text" in output:
            add(str(output.get("name", "text")), output["text"])
        glued = output.get("metadata", {}).get("scrapbook", {}).get("name")
        for kind, content in sorted(output.get("data", {}).items()):
            if PICTURE.search(kind) or (kind == "text/html" and _says_it_all(output["data"])):
                continue
            add(f"{glued or 'output'} {kind.removeprefix('application/papermill.record/')}", content)
        if output.get("output_type") == "error":
            add("error", f"{output.get('ename')}: {output.get('evalue')}")
    return named


def _says_it_all(data: Mapping[str, str]) -> bool:
    """Has the text of a table the numbers of its HTML, none left out for want of room?"""
    plain = Counter(NUMBER.findall(data.get("text/plain", "")))
    body = re.sub(r"<style.*?</style>|<[^>]*>", " ", data["text/html"], flags=re.DOTALL)
    return plain >= Counter(NUMBER.findall(body))


def numbers(outputs: Sequence[Mapping[str, Any]]) -> dict[Place, str]:
    """All numbers of a cell's outputs by their place, as they are written."""
    return {
        (name, place): number
        for name, text in texts(outputs).items()
        for place, number in enumerate(split(text)[1])
    }


def differences(
    old: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]], tolerances: Tolerances
) -> list[Difference]:
    """Everything in a cell's outputs that did not come out again; empty where they agree."""
    before, after = texts(old), texts(new)
    changes = [
        Difference(name, "", before.get(name, "no such output"), after.get(name, "no such output"))
        for name in before.keys() ^ after.keys()
    ]
    for name in before.keys() & after.keys():
        (words, first), (new_words, second) = split(before[name]), split(after[name])
        if words != new_words or len(first) != len(second):
            changes += _other_lines(name, before[name], after[name])
            continue
        lines = [line.strip() for line in before[name].splitlines() for _ in NUMBER.findall(line)]
        for place, pair in enumerate(zip(first, second, strict=True)):
            allowed = tolerances.get((name, place), DETERMINISTIC)
            if allowed is not None and not is_close(*pair, allowed):
                changes.append(Difference(name, lines[place] if place < len(lines) else "", *pair, allowed))
    return sorted(changes, key=lambda change: change.output)


def is_close(old: str, new: str, allowed: float) -> bool:
    """Do two numbers agree within a relative tolerance? Whole ones exactly, unless training decides them."""
    difference = abs(value(old) - value(new))
    if allowed == DETERMINISTIC and is_whole(old) and is_whole(new):
        return not difference
    return difference <= allowed * abs(value(old)) * (1 + 1e-9) + NOTHING


def _other_lines(name: str, old: str, new: str) -> Iterator[Difference]:
    """The lines whose words differ, in pairs."""
    before, after = old.splitlines(), new.splitlines()
    masked = [[split(line)[0] for line in lines] for lines in (before, after)]
    for kind, a, b, c, d in difflib.SequenceMatcher(None, *masked, autojunk=False).get_opcodes():
        if kind != "equal":
            yield Difference(name, "", "\n".join(before[a:b]).strip(), "\n".join(after[c:d]).strip())


def read_tolerances(root: Path) -> dict[tuple[str, str], dict[Place, float | None]]:
    """The measured tolerances by notebook and cell id; none where they were not measured."""
    measured: dict[tuple[str, str], dict[Place, float | None]] = {}
    table = root / "data" / "numerics.csv"
    if table.is_file():
        with table.open(encoding="utf-8", newline="") as lines:
            for row in csv.DictReader(lines):
                cell = measured.setdefault((row["notebook"], row["cell"]), {})
                cell[row["output"], int(row["number"])] = (
                    float(row["tolerance"]) if row["tolerance"] else None
                )
    return measured
