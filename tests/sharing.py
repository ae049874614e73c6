"""Pytest plugin: how the tests are shared out among several workers, ``pytest -n 2`` with pytest-xdist."""

from pathlib import Path
from typing import Any

import pytest

# files whose tests share nothing and mostly wait for processes that they start: any worker takes any of them, so that
# they run beside those that compute
SPREAD = {
    "test_build",
    "test_commands",
    "test_parameters",
    "test_interrupts",
    "test_runs",
    "test_sockets",
    "test_sweeps",
}


def group(test: str) -> str:
    """The tests of one group run in one worker, in their order: here by the id of a test.

    Notebooks read results of those before; tests of one file share fixtures (a recording, servers, pages) and compiled
    networks.
    """
    file = Path(test.partition("::")[0])
    if file.suffix == ".ipynb":
        return "notebooks"
    return test if file.stem in SPREAD else file.stem


# marks of groups do nothing under pytest 9.2, whose ids of tests pytest-xdist 3.8 cannot change any more
@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Largest groups first, of which the notebooks are one."""
    from xdist.scheduler import LoadScopeScheduling

    class ByGroup(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group(nodeid)

    return ByGroup(config, log)
