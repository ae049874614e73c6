"""The log of each run: what papermill reports about it, though threads of one process make several runs at once."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

LOGGER = logging.getLogger("papermill")

# papermill has one logger for a process; a context is that of a thread, and of the tasks that it starts elsewhere
_of_this_run: ContextVar[logging.Handler | None] = ContextVar("log of this run", default=None)
_lock = threading.Lock()
_open: list[logging.Handler] = []
_before: tuple[int, bool] = LOGGER.level, LOGGER.propagate


@contextmanager
def kept(path: Path) -> Iterator[logging.Logger]:
    """Keep what papermill reports about the run that is made within, with times; yields the logger."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    handler.addFilter(lambda _: _of_this_run.get() is handler)
    token = _of_this_run.set(handler)
    try:
        with _listening(handler):
            yield LOGGER
    finally:
        _of_this_run.reset(token)
        handler.close()


@contextmanager
def _listening(handler: logging.Handler) -> Iterator[None]:
    """Have papermill's logger write to a handler; the first sets it up for all, the last leaves it as it was."""
    global _before
    with _lock:
        if not _open:
            _before = LOGGER.level, LOGGER.propagate
            LOGGER.setLevel(logging.INFO)
            LOGGER.propagate = False
        _open.append(handler)
        LOGGER.addHandler(handler)
    try:
        yield
    finally:
        with _lock:
            LOGGER.removeHandler(handler)
            _open.remove(handler)
            if not _open:
                LOGGER.setLevel(_before[0])
                LOGGER.propagate = _before[1]
