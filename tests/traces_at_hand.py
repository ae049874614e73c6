"""Public traces for tests: a test that needs them is skipped where neither mirror nor network has them.

With VDS_TRACES set, whatever is missing is a failure.
"""

import functools
import os

import pytest

from vdslib.errors import TelemetryError
from vdslib.sources import traces

SMALL = "nab-aws/labels/combined_windows.json"


@functools.cache
def _reachable() -> str:
    """Why traces cannot be had; empty where they can."""
    try:
        traces.fetch(SMALL)
    except TelemetryError as error:
        return str(error)
    return ""


def need_traces() -> None:
    """Skip the test that calls this if no public trace can be had."""
    if not os.environ.get("VDS_TRACES") and (reason := _reachable()):
        pytest.skip(f"needs public traces, and there is neither a mirror (VDS_TRACES) nor network: {reason}")
