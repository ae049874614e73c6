"""Set up the environment of the book in ``.venv``, with nothing but Python's own library.

python3 book/tools/environment.py setup   .venv from requirements.lock, every hash checked
python3 book/tools/environment.py conda   environment.yml with the versions of requirements.lock
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
LOCK = ROOT / "requirements.lock"
PYTHON = "{}.{}.{}".format(*sys.version_info)
CONDA_PYTHON = "3.11.9"
CONDA = """\
# Environment for conda and Binder, written by `make lock`: the direct dependencies of pyproject.toml at the versions
# of requirements.lock. On a machine with Python, `make book` needs no conda and checks every hash.
name: vds-book
channels: [conda-forge]
dependencies:
  - python={python}
  - pip
  - pip:
"""


def main(command: str) -> None:
    """Run one of the commands."""
    if command == "setup":
        setup()
    else:
        (ROOT / "environment.yml").write_text(conda_environment(), encoding="utf-8")


def setup() -> None:
    """Create ``.venv`` if need be and bring it to the lock."""
    if sys.version_info[:2] not in ((3, 11), (3, 12), (3, 13)):
        raise SystemExit(
            f"Python 3.11, 3.12 or 3.13 is needed (TensorFlow has wheels for these); {sys.executable} is "
            f"{sys.version.split()[0]}. Say which to use: make PYTHON=/path/to/python3.12 book"
        )
    create_venv()
    python = str(VENV / "bin" / "python")
    pip = [python, "-m", "pip", "--disable-pip-version-check", "install"]
    install_locked([*pip, "--require-hashes", "-r", str(LOCK)])
    # the lock holds the build backend too, so nothing unpinned is fetched for the project itself
    own = [*pip, "--quiet", "--no-deps", "--no-build-isolation", "--editable", str(ROOT)]
    if subprocess.run(own, check=False).returncode:
        raise SystemExit("vdslib itself could not be installed; see above")


def create_venv() -> None:
    """A new ``.venv`` where there is none that works."""
    python = VENV / "bin" / "python"
    if python.exists() and not subprocess.run([python, "-c", "import pip"], check=False).returncode:
        return
    print(f"making .venv with Python {sys.version.split()[0]}", flush=True)
    shutil.rmtree(VENV, ignore_errors=True)
    made = subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=False, stdout=subprocess.PIPE)
    if made.returncode:
        shutil.rmtree(VENV, ignore_errors=True)
        raise SystemExit(
            f"{sys.executable} cannot make virtual environments. On Debian and Ubuntu: "
            "apt-get install python3-venv"
        )


def install_locked(command: list[str]) -> None:
    """Run pip and show one line of progress in place of its hundreds."""
    total, done, live = len(locked_versions(LOCK.read_text(), PYTHON)), 0, sys.stdout.isatty()
    print(f"installing {total} locked packages (about 3 GB once installed)", flush=True)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if match := re.match(r"(?:Collecting|Requirement already satisfied:) ([\w.-]+)", line):
                done += 1
                if live or done % 50 == 0:
                    text = f"  {done} of {total}: {match[1]}"
                    print(f"\r{text:60}" if live else text, end="" if live else "\n", flush=True)
            elif line.startswith("Installing collected packages"):
                print(f"{chr(13) if live else ''}{'  unpacking (a minute or two)':60}", flush=True)
    if process.returncode:
        raise SystemExit("\nthe packages could not be installed; see above")


def locked_versions(lock: str, python: str) -> dict[str, str]:
    """Version of every package that a lock file's text holds for a version of Python, by normalised name."""
    found = re.findall(r"(?m)^([A-Za-z0-9._-]+)==([^\s;\\]+)(.*)", lock)
    return {normal_name(name): version for name, version, marker in found if is_for(marker, python)}


def is_for(marker: str, python: str) -> bool:
    """Whether a marker of a lock file admits a version of Python; what it says of systems is not looked at."""

    def order(version: str) -> list[int]:
        return [int(part) for part in version.split(".") if part.isdigit()]

    for operator, version in re.findall(r"python_full_version (<|>=|==) '([\d.*]+)'", marker):
        own, limit = order(python), order(version)
        fits = {"<": own < limit, ">=": own >= limit, "==": own[: len(limit)] == limit}
        if not fits[operator]:
            return False
    return True


def normal_name(name: str) -> str:
    """A package's name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def direct_dependencies(project: dict) -> list[str]:
    """Normalised names of the locked dependencies that pyproject.toml names: its own and those of the tests."""
    wanted = project["dependencies"] + project["optional-dependencies"]["test"]
    return [normal_name(re.split(r"[<>=!~\[; ]", text, maxsplit=1)[0]) for text in wanted]


def conda_environment() -> str:
    """Text of environment.yml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    versions = locked_versions(LOCK.read_text(encoding="utf-8"), CONDA_PYTHON)
    lines = [f"      - {name}=={versions[name]}" for name in direct_dependencies(project)]
    return CONDA.format(python=CONDA_PYTHON.rpartition(".")[0]) + "\n".join(
        [*lines, "      - --editable .", ""]
    )


if __name__ == "__main__":
    main(sys.argv[1])
