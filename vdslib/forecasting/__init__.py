"""From telemetry to forecasts without a network: windows, leak checks, simple forecasters, intervals."""

from vdslib.forecasting.baselines import (
    Drift, Forecasts, Oracle, Persistence, Ridge, SeasonalNaive, TrainingMean, FORECASTERS, forecasts, register,
)  # fmt: skip
from vdslib.forecasting.classical import ARIMA, ETS
from vdslib.forecasting.cutting import columns
from vdslib.forecasting.demand import horizon_for, prepare_demand, smoothed
from vdslib.forecasting.intervals import (
    AdaptiveConformal, BoostedQuantiles, Conformal, Ends, coverage_by_time, coverage_interval, covered, quantile_levels, winkler,
)  # fmt: skip
from vdslib.forecasting.level import FLOOR, Averaged, Levelled, without_level
from vdslib.forecasting.leak_checks import LEAKS
from vdslib.forecasting.parts import blocks, divide, folds, resample
from vdslib.forecasting.past import Past, runs, seasonal_error, target_column
from vdslib.forecasting.preparation import USAGES, Prepared, default_features, prepare
from vdslib.forecasting.rhythms import Rhythm
from vdslib.forecasting.scaling import Scalers
from vdslib.forecasting.seasons import find_period
from vdslib.forecasting.windows import Windows, aligned, groups, median_step

__all__ = [
    "ARIMA", "ETS", "FLOOR", "FORECASTERS", "LEAKS", "USAGES", "AdaptiveConformal", "Averaged", "BoostedQuantiles",
    "Conformal", "Drift", "Ends", "Forecasts", "Levelled", "Oracle", "Past", "Persistence", "Prepared", "Rhythm",
    "Ridge", "Scalers", "SeasonalNaive", "TrainingMean", "Windows", "aligned", "baselines", "blocks",
    "columns", "coverage_by_time", "coverage_interval", "covered", "default_features", "divide", "find_period", "folds",
    "forecasts", "groups", "horizon_for", "intervals", "leak_checks", "median_step", "prepare", "prepare_demand", "quantile_levels",
    "register", "resample", "rhythms", "runs", "seasonal_error", "smoothed", "target_column", "winkler", "without_level",
]  # fmt: skip
