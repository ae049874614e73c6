"""Errors that a run recorded and that are no numbers: what is left where a network diverged."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def is_curve(name: str) -> bool:
    """Whether a list of numbers runs over epochs, by its name: a loss or a curve. Other lists are repetitions."""
    return re.search(r"loss|curve", name) is not None


def is_error(name: str) -> bool:
    """Whether a result is an error or a loss, by its name; its spread and its interval are neither."""
    kind = re.search(r"spread|interval|\.std$", name)
    return re.search(r"mse|mae|error|loss", name) is not None and kind is None


def errors_lost(results: Mapping[str, Any]) -> list[str]:
    """Dotted names of the recorded errors that are no numbers, repetitions by their place; tables are left out.

    A curve may lose its end, where early stopping put the best weights back; the errors then are those of the best.
    """
    return list(_lost(results, ""))


def in_words(names: Sequence[str]) -> str:
    """The first of such names, and how many more there are."""
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return f"no numbers: {', '.join(names[:4])}{more}"


def _lost(values: Any, name: str) -> Iterator[str]:
    if isinstance(values, Mapping):
        for key, value in values.items():
            yield from _lost(value, f"{name}.{key}" if name else str(key))
    elif isinstance(values, list):
        if not is_curve(name) and not any(isinstance(value, Mapping) for value in values):
            for place, value in enumerate(values):
                yield from _lost(value, f"{name}.{place}")
    elif values is None and is_error(name):
        yield name
