"""What a random split flatters, on the rows that it and the clean split both test on.

Errors on different rows cannot be compared, since one test part may be harder than another for everybody. Some test
rows of a random split lie in the last part of the series, which the clean split tests on too: on these the two differ
in the training rows alone.
"""

from collections.abc import Callable, Sequence

import pandas as pd

from vdslib.chapters.leaks import Case, Neighbours, arms
from vdslib.evaluation import in_stretches
from vdslib.forecasting import Forecasts


def random_split(
    case: Case, seeds: Sequence[int], make: Callable[[], Forecasts] = Neighbours
) -> dict[str, dict[str, list[float]]]:
    """Test MSE of the clean and the leaky arm of "random split", on the test windows that both have.

    ``same_rows_mse``: by arm, one value for each seed (which draws the split); ``same_rows_stretches``: by arm, in
    consecutive stretches of time, mean over the seeds. ``make`` makes the forecaster, for both arms alike.
    """
    parts = []
    for seed in seeds:
        for name, arm in zip(("clean", "leaky"), arms("random split", case, seed), strict=True):
            wrong = make().fit(arm.known).forecast(arm.test) - arm.test.y
            labels = {"seed": seed, "arm": name, "time": arm.test.times, "node": arm.test.node}
            parts.append(pd.DataFrame({**labels, "error": (wrong**2).mean(axis=1)}))
    table = pd.concat(parts).pivot(index=["seed", "time", "node"], columns="arm", values="error").dropna()
    by_seed, times = table.groupby("seed").mean(), table.index.get_level_values("time")
    return {
        "same_rows_mse": {arm: by_seed[arm].tolist() for arm in ("clean", "leaky")},
        "same_rows_stretches": {arm: in_stretches(table[arm], times) for arm in ("clean", "leaky")},
    }
