"""How the tests are shared out among several workers (``pytest -n 2 --dist loadgroup``)."""

import pytest

# files whose tests share nothing and mostly wait for processes that they start: any worker takes any of them, so that
# they run beside those that compute
SPREAD = {
    "test_build",
    "test_commands",
    "test_experiments",
    "test_interrupts",
    "test_runs",
    "test_sockets",
    "test_sweep",
}


@pytest.hookimpl(tryfirst=True)  # before xdist reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of one file stay together, as they share fixtures (a recording, servers, pages) and compiled networks."""
    for item in items:
        if item.path.suffix == ".py" and item.path.stem not in SPREAD:
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
