"""How far the numbers of the notebooks move with the rounding of the processor.

    python book/tools/numerics.py [--save]

Each notebook is run five times with its starting weights moved by a millionth (`vdslib.networks.models`) and with numpy and its
linear algebra kept to fewer instructions, as on another processor. For every number that is compared the range of the
runs is held against its tolerance in ``data/numerics.csv``; ``--save`` writes that table anew. A sixth run moves the
weights by a thousandth, which shows in every number that training touches, also where it is printed with few digits.
"""

from __future__ import annotations

import argparse
import csv
import decimal
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import build
import comparison
import inputs
import nbformat

from vdslib import files
from vdslib.sources import traces

ROOT = files.root()
TABLE = ROOT / "data" / "numerics.csv"
DRAWS = 5
SHOWN = "shown"  # the run that shows what training touches
TRACE = "bitbrains-rnd/2013-8/332.csv"  # of those that chapter 4.2 trains on
NOISE = 0.08  # a number with a larger range is not compared as a number
TIMES = 4  # a tolerance is this many times the range ...
HIGHEST = 0.16  # ... that never hides a change of 20%
LEAST = 1e-4  # what every number that training touches may differ by, however little it moved in five runs
UPWARDS = decimal.Context(prec=3, rounding=decimal.ROUND_CEILING)  # a written tolerance still allows its unit
COLUMNS = ["notebook", "cell", "output", "number", "value", "range", "tolerance"]
# instructions that older processors lack: numpy's own loops, and the kernels of its linear algebra
OTHER_PROCESSORS = (
    {},
    {"OPENBLAS_CORETYPE": "Haswell", "NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512CD AVX512_SKX"},
    {"OPENBLAS_CORETYPE": "Sandybridge", "NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512CD AVX512_SKX AVX2 FMA3"},
)


@dataclass
class Measured:
    """One number over the runs: its `range` relative to the committed value, and the tolerance that follows."""

    notebook: str
    cell: str
    output: str
    number: int
    value: str
    range: float
    touched: bool

    @property
    def tolerance(self) -> float | None:
        """Relative tolerance; None where the number is noise.

        Where the range is below one unit of the last digit, a number that training touches may differ by that unit.
        """
        if not self.touched:
            return comparison.DETERMINISTIC
        unit = comparison.resolution(self.value)
        if self.range > NOISE or unit > HIGHEST:
            return None
        return max(min(TIMES * self.range, HIGHEST), unit, LEAST)


def main(arguments: list[str] | None = None) -> int:
    """The command line; 1 where a tolerance does not fit its range or words hang on noise."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--save", action="store_true", help="write data/numerics.csv anew")
    parser.add_argument("--draw", action="store_true", help="run the notebooks of one draw")
    given = parser.parse_args(arguments)
    if not traces.available(TRACE):
        raise SystemExit(
            "set VDS_TRACES: without public traces chapter 4.2 shows a table, whose numbers do not move"
        )
    if given.draw:
        build.run_notebooks(ROOT)
        return 0
    run_all()
    measured, words = compare()
    if given.save:
        save(measured)
    report(measured)
    return 1 if faults(measured, words) else 0


def folder(draw: str) -> str:
    """Where the runs of one draw are kept."""
    return f"_build/numerics/{draw}"


def run_all() -> None:
    """All notebooks under all draws, those that are out of date; two draws side by side."""
    draws = {str(draw): f"{draw}" for draw in range(1, DRAWS + 1)} | {SHOWN: f"{DRAWS + 1}:1e-3"}

    def run(number: int, name: str, switch: str) -> int:
        processor = OTHER_PROCESSORS[number % len(OTHER_PROCESSORS)]
        environment = os.environ | processor | {"VDS_MOVED_WEIGHTS": switch, "VDS_BUILD": folder(name)}
        command = [sys.executable, __file__, "--draw"]
        log = ROOT / folder(name) / "log.txt"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as said:
            code = subprocess.run(command, env=environment, stdout=said, stderr=said, check=False).returncode
        print(f"draw {name}: {'failed, see ' + str(log.relative_to(ROOT)) if code else 'done'}", flush=True)
        return code

    with ThreadPoolExecutor(2) as workers:
        codes = list(workers.map(run, range(len(draws)), draws, draws.values()))
    if any(codes):
        raise SystemExit("not every draw was run to its end")


def compare() -> tuple[list[Measured], list[str]]:
    """Every number of every notebook over the draws, and the words that changed."""
    measured, words = [], []
    for path in inputs.notebooks(ROOT):
        committed = build.code(nbformat.read(path, as_version=4))
        names = [*map(str, range(1, DRAWS + 1)), SHOWN]
        copies = [
            build.code(nbformat.read(ROOT / folder(n) / "executed" / path.name, as_version=4)) for n in names
        ]
        for number, (cell, *runs) in enumerate(zip(committed, *copies, strict=True), start=1):
            if any(run.source != cell.source for run in runs):
                raise SystemExit(
                    f"{path.stem}, code cell {number}: the runs have other code than the notebook"
                )
            changed = {
                str(change)
                for run in runs[:-1]
                for change in comparison.differences(cell.outputs, run.outputs, _Anything())
            }
            words += [f"{path.stem}, code cell {number}: {text}" for text in sorted(changed)]
            measured += _of_cell(path.stem, cell, [run.outputs for run in runs])
    return measured, words


class _Anything(dict):
    """Tolerances of a comparison that looks at words alone."""

    def get(self, key: Any, default: Any = None) -> None:
        return None


def _of_cell(notebook: str, cell: Any, runs: list[Any]) -> Iterator[Measured]:
    drawn = [comparison.numbers(outputs) for outputs in runs]
    for (output, number), text in comparison.numbers(cell.outputs).items():
        values = [comparison.value(run.get((output, number), text)) for run in drawn]
        own = comparison.value(text)
        spread = max(own, *values[:-1]) - min(own, *values[:-1])
        size = spread / abs(own) if own else float(spread > comparison.NOTHING)
        touched = size > comparison.DETERMINISTIC or not comparison.is_close(
            text, repr(values[-1]), comparison.DETERMINISTIC
        )
        if size <= comparison.DETERMINISTIC:
            size = 0.0
        yield Measured(notebook, cell.id, output, number, text, size, touched)


def save(measured: list[Measured]) -> None:
    """Write the table of all numbers that training touches, at once."""
    with files.atomic(TABLE) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(COLUMNS)
        for one in measured:
            if one.touched:
                allowed = "" if one.tolerance is None else UPWARDS.create_decimal(repr(one.tolerance))
                rows.writerow([*(getattr(one, name) for name in COLUMNS[:5]), f"{one.range:.3g}", allowed])


def report(measured: list[Measured]) -> None:
    """Print every compared number that moved, and counts by notebook."""
    tolerances = comparison.read_tolerances(ROOT)
    for one in measured:
        if one.range:
            allowed = tolerances.get((one.notebook, one.cell), {}).get((one.output, one.number), 0.0)
            says = "not compared" if allowed is None else f"tolerance {allowed:.2%}"
            print(f"{one.notebook} {one.output} #{one.number}: {one.value}, range {one.range:.2%}, {says}")
    for name in sorted({one.notebook for one in measured}):
        mine = [one for one in measured if one.notebook == name]
        touched = [one for one in mine if one.touched]
        noise = sum(one.tolerance is None for one in touched)
        compared = [one.range for one in touched if one.tolerance is not None]
        print(
            f"{name}: {len(mine)} numbers, {len(touched)} out of training, {noise} of them noise;",
            f"largest range of a compared one {max(compared, default=0):.2%}",
        )


def faults(measured: list[Measured], words: list[str]) -> list[str]:
    """Print and return what must be mended: tolerances that do not fit, words that hang on noise."""
    # the table has three digits
    tolerances, found = comparison.read_tolerances(ROOT), list(words)
    for one in measured:
        cell = tolerances.get((one.notebook, one.cell), {})
        allowed = cell.get((one.output, one.number), comparison.DETERMINISTIC)
        where = f"{one.notebook} {one.output} #{one.number}: {one.value}"
        if one.range > NOISE and allowed is not None:
            found.append(f"{where}: range {one.range:.1%}, so it is noise")
        if allowed is None or not one.range:
            continue
        if allowed < 1.98 * one.range:
            found.append(f"{where}: tolerance {allowed:.2%} is below twice the range {one.range:.2%}")
        if allowed > 1.01 * max(10 * one.range, comparison.resolution(one.value), LEAST):
            found.append(f"{where}: tolerance {allowed:.2%} is above ten times the range {one.range:.2%}")
    for line in found:
        print(f"fault: {line}")
    return found


if __name__ == "__main__":
    raise SystemExit(main())
