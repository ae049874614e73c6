"""How tests are shared out among workers: what belongs together stays so."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import sharing

TESTS = Path(sharing.__file__).parent


def test_notebooks_are_one_group_and_so_are_the_tests_of_a_file():
    cells = [f"notebooks/{name}.ipynb::Cell {number}" for name in ("a", "b") for number in (0, 1)]
    assert {sharing.group(cell) for cell in cells} == {"notebooks"}
    assert sharing.group("tests/test_pages.py::test_a") == sharing.group("tests/test_pages.py::test_b[x::y]")
    assert sharing.group("tests/experiments/test_sweeps.py::test_a") != sharing.group(
        "tests/experiments/test_sweeps.py::test_b"
    )


def test_files_whose_tests_are_spread_share_no_fixture():
    for name in sharing.SPREAD:
        (path,) = TESTS.rglob(f"{name}.py")
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"scope=|lru_cache|functools\.cache", text), name


def test_workers_take_whole_groups(tmp_path):
    pytest.importorskip("xdist")
    (tmp_path / "conftest.py").write_text((TESTS / "sharing.py").read_text())
    for name in ("test_one", "test_two", "test_sweeps"):
        cases = f"@pytest.mark.parametrize('n', range({8 if name == 'test_sweeps' else 4}))"
        (tmp_path / f"{name}.py").write_text(f"import pytest\n\n{cases}\ndef test_it(n):\n    pass\n")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-n",
        "2",
        "-v",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(tmp_path),
        ".",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    took = re.findall(r"\[(gw\d)\].*PASSED (\w+)\.py::", done.stdout)
    assert len(took) == 16
    for name in ("test_one", "test_two"):
        assert len({worker for worker, file in took if file == name}) == 1
