"""The project's folder; files that are there whole or not at all; tables as Markdown."""

import os
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

__all__ = ["atomic", "markdown", "root", "save"]


def root() -> Path:
    """The project's folder: the parent of the package ``vdslib``."""
    return Path(__file__).resolve().parent.parent


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """A temporary file to write, which takes the place of ``path`` at the end, or is removed where an error comes before.

    Its name is its own, so that processes and threads that write the same file at once do not meet: the last one wins.
    The rights are those of any new file (umask). A link stays one, and what is no file, such as ``/dev/stdout``, is
    written as it is. Raises OSError where the folder is not there or cannot be written.
    """
    target = Path(path)
    if target.exists() and not target.is_file():
        yield target
        return
    target = target.resolve()
    # a name may be as long as the file system lets it
    temporary = target.with_name(f".{target.name[:50]}.{uuid.uuid4().hex[:8]}")
    try:
        yield temporary
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def save(path: str | Path, text: str) -> None:
    """Write a text as UTF-8, whole or not at all."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def markdown(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; a bar inside a cell is escaped, a line break becomes a space."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(_cell(str(cell)) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
