"""Two nodes measured every minute, the second some seconds after the first."""

import numpy as np
import pandas as pd
from synthetic import planted

START = pd.Timestamp("2026-01-05T08:00:00Z")


def staggered(seconds: float, rows: int = 400) -> pd.DataFrame:
    """The load of each node is a wave of 60 rows with noise."""
    random, frames = np.random.default_rng(0), []
    for number, node in enumerate("ab"):
        wave = 50 + 20 * np.sin(2 * np.pi * np.arange(rows) / 60 + number) + 2 * random.standard_normal(rows)
        after = pd.to_timedelta(60.0 * np.arange(rows) + seconds * number, unit="s")
        frames.append(planted(wave, node).assign(timestamp=START + after))
    return pd.concat(frames, ignore_index=True)
