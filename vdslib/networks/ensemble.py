"""The book's own forecaster: anchored networks of several seeds, in the form that validation windows prefer."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from vdslib.forecasting import Windows, blocks
from vdslib.networks import anchored, models
from vdslib.networks.engine import Job, Settings, Trained
from vdslib.networks.training import inner_tail, predict, train

SETTINGS = Settings(learning_rate=0.003, epochs=60, batch_size=64, patience=8)


class Anchored:
    """The mean forecast of ``anchored`` networks from several ``seeds``, which learn in two rounds.

    First each learns from the earlier training windows and is judged on the last ones. These forecasts, of a time that
    lies ahead, calibrate the shares and choose the form: ``spread`` says whether the change is seen by the window's own
    spread; None tries both and keeps the one with the lower error. Then networks of that form learn from all windows but a
    block, another one for each seed, which says when to stop: together they have seen everything, the latest rows too. Their
    forecasts of these blocks calibrate once more; the smaller share is taken, which served at both times.

    ``options`` go to ``models.build``. After ``fit``: ``trained`` has the networks, ``shares`` what was calibrated,
    ``errors`` the error of each form that was tried on the last training windows, ``table`` whether a linear model found peaks
    of single moments there (``anchored.has_peaks``).
    """

    def __init__(
        self,
        seeds: Sequence[int] = (1, 2, 3, 4, 5),
        spread: bool | None = None,
        settings: Settings = SETTINGS,
        **options: Any,
    ) -> None:
        self.seeds, self.settings = list(seeds), settings
        self.forms = [False, True] if spread is None else [spread]
        self.options = {"units": [32], "dropout": 0.0, **options}
        self.trained: list[Trained] = []
        self.shares: dict[str, np.ndarray] = {}
        self.errors: dict[bool, float] = {}
        self.table = False

    def fit(self, windows: Windows) -> "Anchored":
        """Learn from ``windows``, all of those before the test part."""
        known, last = inner_tail(windows)
        self.table = anchored.has_peaks(known, last, models.design(windows)["step"])
        jobs = [self._job(windows, known, last, form, seed) for form in self.forms for seed in self.seeds]
        first = [each.model for each in train(jobs)]
        shares = {}
        for place, form in enumerate(self.forms):
            own = first[place * len(self.seeds) : (place + 1) * len(self.seeds)]
            shares[form] = anchored.calibrate(own, last)
            mean = np.mean([predict(model, last) for model in own], axis=0)
            self.errors[form] = float(np.mean((mean - last.y) ** 2))
        best = min(self.errors, key=lambda form: self.errors[form])
        parts = [
            (windows.take(others), windows.take(own)) for others, own in blocks(windows, len(self.seeds))
        ]
        self.trained = train(
            [self._job(windows, *part, best, seed) for seed, part in zip(self.seeds, parts, strict=True)]
        )
        held = anchored.calibrate(
            [each.model for each in self.trained], *(own for _, own in parts), apart=True
        )
        self.shares = {name: np.minimum(share, held[name]) for name, share in shares[best].items()}
        for each in self.trained:
            anchored.trust(each.model, self.shares)
        return self

    def _job(self, windows: Windows, part: Windows, watched: Windows, form: bool, seed: int) -> Job:
        design = {**models.design(windows), **self.options}

        def build(seed: int) -> Any:
            return models.build("anchored", **design, spread=form, table=self.table, seed=seed)

        return Job(build, part, watched, self.settings, seed)

    def members(self, windows: Windows) -> list[np.ndarray]:
        """The forecasts [samples, horizon] of each network. RuntimeError before ``fit``."""
        if not self.trained:
            raise RuntimeError("fit the forecaster before asking it for forecasts")
        return [predict(each.model, windows) for each in self.trained]

    def forecast(self, windows: Windows) -> np.ndarray:
        """The mean forecast [samples, horizon], scaled. RuntimeError before ``fit``."""
        return np.mean(self.members(windows), axis=0)
