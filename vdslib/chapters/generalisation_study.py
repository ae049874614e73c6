"""The study behind chapter 4.2: everything that its committed table holds, computed piece by piece.

    python -m vdslib.chapters.generalisation_study data

needs the traces (``vds sources``). A finished piece is kept in ``runs/generalisation`` and found again after an interruption,
as long as nothing that it was computed by has changed.
"""

import argparse
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from vdslib import files
from vdslib.chapters import drifting, generalisation, global_network, growing, mirrored, other_machines
from vdslib.chapters.generalisation import MACHINES, OTHERS
from vdslib.chapters.other_machines import Plan
from vdslib.experiments import digest, identity
from vdslib.forecasting import Prepared

TABLE = "generalisation.csv"
DRAWS, NUMBERS = 1, (1, 2, 4, 8)  # of machines that are learnt from
PLAN = Plan()
POOLED = Plan(every=6)  # networks of many machines have enough windows
MADE_BY = ("telemetry", "sources", "forecasting", "networks", "evaluation")  # rooms
MODULES = (drifting, global_network, growing, mirrored, other_machines, sys.modules[__name__])


@cache
def prepared(name: str) -> Prepared:
    """The windows of one machine."""
    return PLAN.prepared(name)


@cache
def facts() -> dict[str, np.ndarray]:
    """What every machine was given."""
    return {name: global_network.configuration(PLAN.frame(name)) for name in (*MACHINES, *OTHERS)}


def anew(
    machines: list[str], *, month: str, window: int, horizon: int, n_seeds: int, epochs: int
) -> pd.DataFrame:
    """What the table has of single machines, for these and as asked, computed in this process; the rest as committed."""
    settings = replace(other_machines.SETTINGS, epochs=epochs)
    plan = Plan(month, window, horizon, range(1, n_seeds + 1), settings)
    data = {name: plan.prepared(name) for name in machines}
    made = [of_machine(plan, name, data) for name in machines]
    made.append(other_machines.as_the_paper(plan, machines))
    table = generalisation.read_table()
    rest = table[~table["part"].isin(["days", "own", "matrix", "paper"])]
    return pd.concat([*made, rest], ignore_index=True)


def parts(names: tuple[str, ...]) -> dict[str, Prepared]:
    """The windows of these machines, by name."""
    return {name: prepared(name) for name in names}


def of_machine(plan: Plan, name: str, data: Mapping[str, Prepared]) -> pd.DataFrame:
    """Rows of the table: how the machine's month looks, what all forecasters reach on it, and what those networks that
    learnt from it reach on the machines ``data``."""
    learnt = plan.learnt(data[name])
    fitted = {model: each.fit(learnt) for model, each in other_machines.forecasters(plan).items()}
    tests = {other: each.test for other, each in data.items()}
    return pd.concat(
        [
            other_machines.days(plan.frame(name), name),
            other_machines.own(plan, name, data[name], fitted),
            other_machines.elsewhere(plan, name, fitted, tests),
        ]
    )


def never_seen(draw: int, number: int, told: bool) -> pd.DataFrame:
    """Rows of the table about machines that a network never saw, for one draw of those that it learnt from."""
    chosen = tuple(global_network.orders(tuple(MACHINES), DRAWS)[draw][:number])
    given = facts() if told else None
    return global_network.never_seen(POOLED, parts(chosen), parts(OTHERS), given, (draw, number))


def one_for_all() -> pd.DataFrame:
    """Rows of the table: one network for the ten machines, and one for each."""
    return global_network.one_for_all(POOLED, parts(tuple(MACHINES)), facts())


def own_line() -> pd.DataFrame:
    """Rows of the table: a linear model on each of the machines that networks never see."""
    return global_network.own_line(POOLED, parts(OTHERS))


def pieces() -> dict[str, Callable[[], pd.DataFrame]]:
    """What is computed, by name, in the order of the table."""
    machines = tuple(MACHINES)
    result: dict[str, Callable[[], pd.DataFrame]] = {}
    for name in machines:
        result[f"machine {name}"] = lambda name=name: of_machine(PLAN, name, parts(machines))  # type: ignore[misc]
    result["paper"] = partial(other_machines.as_the_paper, PLAN, machines)
    result["global"] = one_for_all
    result["left out, line"] = own_line
    for name in drifting.MACHINES:
        for model in ("textbook", "anchored"):
            result[f"drift {name} {model}"] = partial(drifting.streamed, PLAN, name, model)
    result |= {f"growth {nodes}": partial(growing.measured, nodes) for nodes in growing.SIZES}
    result["mirrored"] = mirrored.measured
    for draw in range(DRAWS):
        for number in NUMBERS:
            for told in (False, True):
                name = f"left out {number} {draw}{' told' if told else ''}"
                result[name] = partial(never_seen, draw, number, told)
    return result


def fingerprint(root: Path) -> str:
    """What pieces depend on: the rooms and modules that compute them, and the packages at their versions."""
    code = [root / "vdslib" / room for room in MADE_BY]
    code += [Path(str(module.__file__)) for module in MODULES]
    return digest(identity.environment(root), *map(str, identity.of_files(code).values()))[:12]


def make(kept: Path, only: str = "") -> pd.DataFrame:
    """The rows of all pieces whose name begins with ``only``: those kept in the folder are read, the others computed."""
    kept.mkdir(parents=True, exist_ok=True)
    found = []
    chosen = {name: compute for name, compute in pieces().items() if name.startswith(only)}
    for name, compute in (bar := tqdm(chosen.items(), disable=None)):
        bar.set_description(name)
        path = kept / f"{name}.csv"
        if not path.is_file():
            generalisation.save_table(compute(), path)
        found.append(generalisation.read_table(path))
    return pd.concat(found, ignore_index=True)


def main(arguments: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Compute the table of chapter 4.2.")
    parser.add_argument("folder", type=Path, help="where the table is written")
    parser.add_argument(
        "--only", default="", help="compute and keep the pieces whose name begins so, write no table"
    )
    given = parser.parse_args(arguments)
    root = files.root()
    table = make(root / "runs" / "generalisation" / fingerprint(root), given.only)
    if not given.only:
        generalisation.save_table(table, given.folder / TABLE)


if __name__ == "__main__":
    main()
