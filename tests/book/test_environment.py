"""One set of versions: pyproject.toml, requirements.lock and environment.yml agree, and so does what is installed."""

import importlib.metadata
import re
import subprocess
import tomllib
from pathlib import Path

import environment
import pytest
import yaml


def lock(root: Path) -> str:
    """Text of requirements.lock."""
    return (root / "requirements.lock").read_text(encoding="utf-8")


@pytest.fixture
def locked(root: Path) -> dict[str, str]:
    """Version of every package locked for this Python."""
    return environment.locked_versions(lock(root), environment.PYTHON)


@pytest.fixture
def project(root: Path) -> dict:
    """The table ``project`` of pyproject.toml."""
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_conda_environment_has_the_locked_versions(root: Path, project: dict) -> None:
    conda = yaml.safe_load((root / "environment.yml").read_text(encoding="utf-8"))
    python, _, packages = conda["dependencies"]
    assert python.removeprefix("python=") in ("3.11", "3.12", "3.13")
    locked = environment.locked_versions(lock(root), python.removeprefix("python=") + ".9")
    pinned = dict(line.split("==") for line in packages["pip"] if "==" in line)
    assert pinned == {name: locked[name] for name in environment.direct_dependencies(project)}
    assert "--editable ." in packages["pip"]


def test_every_locked_package_has_hashes_and_no_address(root: Path, locked: dict[str, str]) -> None:
    entries = re.split(r"(?m)^(?=[A-Za-z0-9])", lock(root))[1:]
    assert len(entries) >= len(locked) > 100
    assert [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry] == []
    assert "://" not in lock(root)


def test_installed_versions_are_the_locked_ones(locked: dict[str, str], project: dict) -> None:
    wanted = environment.direct_dependencies(project)
    assert {name: importlib.metadata.version(name) for name in wanted} == {
        name: locked[name] for name in wanted
    }


def test_lock_is_read_for_one_version_of_python() -> None:
    text = "a==1 ; python_full_version < '3.12' \\\nA==2 ; python_full_version >= '3.12' \\\nb.c==3 \\\n"
    text += "d==4 ; python_full_version == '3.12.*' \\\n"
    assert environment.locked_versions(text, "3.11.9") == {"a": "1", "b-c": "3"}
    assert environment.locked_versions(text, "3.12.1") == {"a": "2", "b-c": "3", "d": "4"}


def test_every_dependency_has_its_reason(root: Path) -> None:
    text = (root / "pyproject.toml").read_text(encoding="utf-8")
    lines = re.findall(r'(?m)^  "[\w.-]+[<>=].*$', text)
    assert len(lines) > 20
    assert [line for line in lines if not re.search(r",\s+# \w+", line)] == []


def test_unsuitable_python_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment.sys, "version_info", (3, 14, 0))
    with pytest.raises(SystemExit, match=r"Python 3\.11, 3\.12 or 3\.13 is needed.*PYTHON="):
        environment.setup()


def test_make_alone_lists_every_command(root: Path) -> None:
    listed = subprocess.run(["make", "-s"], cwd=root, capture_output=True, text=True, check=True).stdout
    phony = re.search(r"(?m)^\.PHONY: (.*)$", (root / "Makefile").read_text(encoding="utf-8"))
    assert phony is not None
    assert [line.split()[0] for line in listed.splitlines()] == phony[1].split()
