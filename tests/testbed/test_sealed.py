"""The sealed recording: as it was made, and opened by chapter 5 alone."""

import hashlib

import pandas as pd

from vdslib import experiments, files, telemetry
from vdslib.claims import again

NAME = "vds_sealed"
ROOT = files.root()
FOLDERS = ("vdslib", "notebooks", "book", "tests", "data")
MAY_NAME_IT = {
    "data/README.md",
    "notebooks/5-conclusions.ipynb",
    "tests/testbed/test_sealed.py",
    "tests/book/test_tools.py",
}


def test_nothing_but_chapter_5_reads_it():
    """No other file names it."""
    endings = {".py", ".ipynb", ".md", ".yaml", ".yml", ".toml"}
    found = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*")] + list(ROOT.glob("*"))
    texts = [
        path.relative_to(ROOT).as_posix() for path in found
        if path.is_file() and (path.suffix in endings or path.name == "Makefile") and ".ipynb_checkpoints" not in path.parts
    ]  # fmt: skip
    naming = {name for name in texts if NAME in (ROOT / name).read_text(encoding="utf-8")}
    assert naming <= MAY_NAME_IT


def test_chapter_5_opens_it_once_a_commit_has_frozen_the_settings():
    sealed = {each.name: each.default for each in experiments.parameters("5-conclusions")}["sealed"]
    assert sealed == (f"data/{NAME}.csv" if again.COMMIT else "")


def test_it_is_as_it_was_made():
    path = ROOT / "data" / f"{NAME}.csv"
    assert hashlib.sha256(path.read_bytes()).hexdigest() in (ROOT / "data" / "README.md").read_text(
        encoding="utf-8"
    )
    frame = telemetry.read(path)
    assert frame["node"].nunique() == 4 and len(frame) == 4 * 2700
    assert (frame.groupby("node")["timestamp"].diff().dropna() == pd.Timedelta("1s")).all()
