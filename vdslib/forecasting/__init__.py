"""From telemetry to forecasts without a network: windows, leak checks, simple forecasters, intervals."""

from vdslib.forecasting.baselines import (
    Drift, Forecasts, Oracle, Persistence, Ridge, SeasonalNaive, TrainingMean, FORECASTERS, boosted,
    forecasts, lagged, register,
)  # fmt: skip
from vdslib.forecasting.classical import ARIMA, ETS
from vdslib.forecasting.cutting import columns
from vdslib.forecasting.demand import horizon_for, smoothed
from vdslib.forecasting.intervals import (
    AdaptiveConformal, BoostedQuantiles, Conformal, Ends, coverage_by_time, coverage_interval, covered,
    quantile_levels, winkler,
)  # fmt: skip
from vdslib.forecasting.level import FLOOR, Averaged, Level, Levelled, without_level
from vdslib.forecasting.leak_checks import LEAKS, check_name, future_of
from vdslib.forecasting.parts import blocks, divide, folds, resample
from vdslib.forecasting.past import Past, runs, seasonal_error, target_column
from vdslib.forecasting.preparation import USAGES, Prepared, default_features, prepare
from vdslib.forecasting.rhythms import Rhythm
from vdslib.forecasting.scaling import Scalers
from vdslib.forecasting.seasons import find_period
from vdslib.forecasting.windows import Windows, aligned, groups, median_step

__all__ = [
    "ARIMA", "ETS", "FLOOR", "FORECASTERS", "LEAKS", "USAGES", "AdaptiveConformal", "Averaged", "BoostedQuantiles",
    "Conformal", "Drift", "Ends", "Forecasts", "Level", "Levelled", "Oracle", "Past", "Persistence", "Prepared", "Rhythm", "Ridge",
    "Scalers", "SeasonalNaive", "TrainingMean", "Windows", "aligned", "baselines", "blocks", "boosted",
    "check_name", "columns", "coverage_by_time", "coverage_interval", "covered", "default_features",
    "divide", "find_period", "folds", "forecasts", "future_of", "groups", "horizon_for", "intervals", "lagged",
    "leak_checks", "median_step", "parts", "preparation", "prepare", "quantile_levels", "register", "resample",
    "runs", "seasonal_error", "smoothed", "target_column", "winkler", "without_level",
]  # fmt: skip
