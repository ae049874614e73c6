"""One network for many machines: their windows together, what is fixed about each machine as an input, machines never seen."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from vdslib.chapters.generalisation import rows
from vdslib.chapters.other_machines import Plan, relative
from vdslib.forecasting import Prepared, Ridge, Windows
from vdslib.networks import Anchored

FACTS = ("cores", "MHz provisioned", "MB of memory")
_LARGEST = (
    64.0,
    200_000.0,
    500_000.0,
)  # of a machine that is thought of: on the scale of ``configuration`` it has 1
SEEDS = (1, 2)


def configuration(frame: pd.DataFrame, known: float = 0.8) -> np.ndarray:
    """[3]: cores, MHz and memory that a machine was given, as logarithms on a fixed scale, about 0 to 1.

    The median over the first share ``known`` of the rows, so that nothing of the test part is used; rows in which the machine
    was switched off do not count.
    """
    past = frame.iloc[: round(len(frame) * known)]
    given = pd.DataFrame(
        {"cores": past["cpu_cores"], "mhz": past["cpu_cores"] * past["cpu_mhz"], "mb": past["memory_mb"]}
    )
    middle = given.where(given > 0).median().fillna(1.0).to_numpy()
    return np.log2(np.maximum(middle, 1.0)) / np.log2(_LARGEST)


def with_facts(windows: Windows, facts: np.ndarray) -> Windows:
    """The windows with constants of their machine as further inputs that are known in advance."""
    constants = np.broadcast_to(facts, (*windows.x.shape[:2], len(facts)))
    return replace(
        windows, x=np.concatenate([windows.x, constants], axis=2), ahead=windows.ahead + len(facts)
    )


def pooled(parts: Sequence[Windows]) -> Windows:
    """The windows of several machines one below the other, each still on its own machine's scale."""
    first = parts[0]
    together: dict[str, Any] = {
        name: np.concatenate([getattr(each, name) for each in parts])
        for name in ("x", "y", "times", "node", "last")
    }
    spacing = {node: step for each in parts for node, step in each.spacing.items()}
    return replace(first, **together, spacing=spacing)


def shared(plan: Plan, parts: Mapping[str, Prepared], facts: Mapping[str, np.ndarray] | None) -> Anchored:
    """The book's network, fitted on the pooled windows of these machines; with ``facts`` of each as inputs.

    Machines move by different amounts, so the change is seen in units of the window's own spread.
    """
    known = {name: plan.learnt(each) for name, each in parts.items()}
    if facts is not None:
        known = {name: with_facts(each, facts[name]) for name, each in known.items()}
    return Anchored(SEEDS, spread=True, settings=plan.settings).fit(pooled(list(known.values())))


def judged(
    network: Anchored, parts: Mapping[str, Prepared], facts: Mapping[str, np.ndarray] | None
) -> dict[str, float]:
    """Error over persistence of a shared network on the test part of each machine, at the last step."""
    tests = {name: each.test for name, each in parts.items()}
    inputs = tests if facts is None else {name: with_facts(test, facts[name]) for name, test in tests.items()}
    return {name: relative(network.forecast(inputs[name]), test) for name, test in tests.items()}


def one_for_all(plan: Plan, parts: Mapping[str, Prepared], facts: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Rows of the table: one network for all machines, without and with their facts, and one for each machine, all from the
    same windows of each machine."""
    ratios: dict[tuple[object, ...], float] = {}
    for model, inputs in (("one for all", None), ("one for all, configuration", facts)):
        for name, ratio in judged(shared(plan, parts, inputs), parts, inputs).items():
            ratios[name, model, 0, plan.horizon] = ratio
    for name, part in parts.items():
        alone = {name: part}
        ratios[name, "one for each", 0, plan.horizon] = judged(shared(plan, alone, None), alone, None)[name]
    return rows("global", ratios, "relative")


def orders(names: Sequence[str], draws: int, seed: int = 1) -> list[list[str]]:
    """The machines in ``draws`` random orders: whoever learns from n of them takes the first n."""
    random = np.random.default_rng(seed)
    return [list(random.permutation(np.asarray(names))) for _ in range(draws)]


def never_seen(
    plan: Plan,
    learnt: Mapping[str, Prepared],
    others: Mapping[str, Prepared],
    facts: Mapping[str, np.ndarray] | None,
    at: tuple[int, int],
) -> pd.DataFrame:
    """Rows of the table: error over persistence on ``others`` of a network that learnt from ``learnt``.

    ``at``: the number of the draw, and how many machines were learnt from.
    """
    draw, number = at
    ratios = judged(shared(plan, learnt, facts), others, facts)
    model = "anchored" if facts is None else "anchored, configuration"
    return rows(
        "left out", {(name, model, draw, number): ratio for name, ratio in ratios.items()}, "relative"
    )


def own_line(plan: Plan, others: Mapping[str, Prepared]) -> pd.DataFrame:
    """Rows of the table: what ridge regression on its own past has on each of the machines that networks never see."""
    ratios = {
        (name, "ridge, own past", 0, 0): relative(
            Ridge(lags=plan.window).fit(plan.learnt(each)).forecast(each.test), each.test
        )
        for name, each in others.items()
    }
    return rows("left out", ratios, "relative")
