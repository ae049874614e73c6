"""How good forecasts are: measures, intervals of them, significance, ranking."""

from vdslib.evaluation.budget import equal_budget
from vdslib.evaluation.measures import (
    backtest, compare, evaluate, gap_reduction, mae, mase, members, mse, overfitting_gap,
    reading_of_curves, rmse, shift_test, skill, summary,
)  # fmt: skip
from vdslib.evaluation.ranking import coverages, fitted, standings
from vdslib.evaluation.significance import losses
from vdslib.evaluation.uncertainty import (
    LEVEL, Interval, both, in_stretches, of_count, of_median, over_seeds, over_time,
)  # fmt: skip

__all__ = [
    "LEVEL", "Interval", "backtest", "both", "compare", "coverages", "equal_budget", "evaluate", "fitted",
    "gap_reduction", "in_stretches", "losses", "mae", "mase", "members", "mse", "of_count", "of_median",
    "over_seeds", "over_time", "overfitting_gap", "ranking", "reading_of_curves", "rmse", "shift_test",
    "significance", "skill", "standings", "summary",
]  # fmt: skip
