"""The runs of an experiment as one tidy table: a row for each run, its parameters, results and state in columns."""

import json
import math
import statistics
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from vdslib import files
from vdslib.errors import NotebookError
from vdslib.experiments import notebooks, storage
from vdslib.experiments.lost import in_words, is_curve, is_error

# text and tables of the page as large as the words in its figures, which are made for this width
STYLE = """
body {font: 15px/1.5 sans-serif; max-width: 900px; margin: 2em auto; padding: 0 1em}
table {font-size: 14px; border-collapse: collapse; margin: 1em 0}
th, td {padding: 0.3em 0.7em; text-align: right}
tr:nth-child(even) {background: #f5f5f5}
thead {border-bottom: 1px solid #777}
img {max-width: 720px}
pre {white-space: pre-wrap}
.anchor-link, .prompt, .code_cell:not(:has(.output)) {display: none}
"""
PAGE = (
    '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
    "<style>{style}</style></head>\n<body>{body}</body></html>\n"
)

# columns of the table itself, and of the settings ranked by it, which a parameter may be called, too
OWN = ("id", "state", "seconds", "cell_seconds", "inputs", "error")
RANKED = ("rank", "count", "mean", "std", "min", "max")


def is_number(value: Any) -> bool:
    """Whether a value of JSON is a finite number; true and false are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def recorded(results: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a run recorded; one chapter is the usual case, and needs no name before each of its results."""
    return next(iter(results.values())) if len(results) == 1 else results


def leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested results by dotted name: single values, and lists of numbers (and nulls).

    Lists of such lists are numbered by their names. Tables are left out, as they have no place in a row.
    """
    for name, value in values.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping):
            yield from leaves(value, f"{key}.")
        elif not isinstance(value, list):
            yield key, value
        elif any(isinstance(item, list) for item in value):
            yield from leaves({str(place): item for place, item in enumerate(value)}, f"{key}.")
        elif any(map(is_number, value)) and all(item is None or is_number(item) for item in value):
            yield key, value


def flatten(values: Mapping[str, Any]) -> dict[str, Any]:
    """Nested results as scalars, by dotted name: single values, and ``.mean`` and ``.std`` of repeated numbers.

    An error has no mean where one of its repetitions is no number: the others alone would flatter it. Curves and tables
    are left out, as they have no place in a row.
    """
    scalars: dict[str, Any] = {}
    for name, value in leaves(values):
        if not isinstance(value, list):
            scalars[name] = value
        elif not is_curve(name):
            numbers = [number for number in value if number is not None]
            if is_error(name) and len(numbers) < len(value):
                scalars[f"{name}.mean"] = None
                continue
            scalars[f"{name}.mean"] = statistics.fmean(numbers)
            if len(numbers) > 1:
                scalars[f"{name}.std"] = statistics.stdev(numbers)
    return scalars


def table(experiment: str, out: str | Path = "runs") -> pd.DataFrame:
    """All runs of an experiment, a row each: ``id``, ``state`` (done, diverged or failed), ``seconds``, of which ``cell_seconds`` in
    the notebook's cells, ``inputs`` (the state of notebook, vdslib, data and lock, so that runs of another state can be
    told apart), one column for each parameter and each single result, and ``error``, the last line of what a failed run
    said, or the errors that are no numbers. A run that has such is not done: it diverged (``vdslib.experiments.lost``).

    A parameter that is called as one of these, or as a column of ``ranked``, gets ``parameter.`` before its name; a
    result that is called as one of these or as a parameter of any run gets ``result.``. Raises NotebookError where there
    are no runs.
    """
    place = storage.Place(out, experiment)
    done, failed = place.read(storage.DONE), place.read(storage.FAILED)
    if not done and not failed:
        raise NotebookError(f"there are no runs of {experiment!r} in {out}; vds run or vds sweep makes some")
    parameters, results = place.read("parameters.json"), place.read("results.json")
    columns = {key: column(key) for values in parameters.values() for key in values}
    taken = {*OWN, *columns.values()}
    rows = []
    for name, about in sorted({**failed, **done}.items(), key=lambda item: (item[1]["started"], item[0])):
        settings = {columns[key]: _cell(value) for key, value in parameters.get(name, {}).items()}
        row = {
            "id": name,
            "state": state(about) if name in done else "failed",
            "seconds": about["seconds"],
            "cell_seconds": about.get("cell_seconds"),
            "inputs": about.get("inputs", ""),
            **settings,
        }
        outcome = flatten(recorded(results.get(name, {}))) if name in done else {}
        row |= {
            f"result.{key}" if {key, key.removeprefix("result.")} & taken else key: value
            for key, value in outcome.items()
        }
        said = about.get("error", "").strip().rpartition("\n")[2]
        lost = in_words(about["lost"]) if about.get("lost") else ""
        rows.append(row | {"error": said or lost})
    frame = pd.DataFrame(rows)
    frame.attrs["parameters"] = [name for name in frame if name in columns.values()]
    return frame[[name for name in frame if name != "error"] + ["error"]]


def column(parameter: str) -> str:
    """The column of a parameter in the table of runs."""
    return f"parameter.{parameter}" if parameter in (*OWN, *RANKED) else parameter


def state(about: Mapping[str, Any]) -> str:
    """The state of a run that ended, by its ``run.json``: done, or diverged where errors are no numbers."""
    return "diverged" if about.get("lost") else "done"


def _cell(value: Any) -> Any:
    """A parameter as a cell of a table: a list as its text."""
    return json.dumps(value) if isinstance(value, list) else value


def texts(values: pd.Series) -> pd.Series:
    """Values of a column as text, by which runs are told apart: one that is missing is a value, ``none``.

    Whole numbers are written alike, whether or not a missing value beside them made the column one of floats.
    """
    there = values[values.notna()].astype(object).map(_text)
    missing = "none" if "none" not in set(there) else "(none)"
    return there.reindex(values.index, fill_value=missing)


def _text(value: Any) -> str:
    return str(value).removesuffix(".0") if isinstance(value, float) else str(value)


def differs(values: pd.Series) -> bool:
    """Whether the runs of a table differ in a column."""
    return texts(values).nunique() > 1


def varied(frame: pd.DataFrame) -> list[str]:
    """Parameters that differ between the runs of a table, but for seeds."""
    return [name for name in frame.attrs["parameters"] if "seed" not in name and differs(frame[name])]


def measures(frame: pd.DataFrame) -> list[str]:
    """Results of a table that are numbers, in their order."""
    others = {*frame.attrs["parameters"], *OWN}
    numbers = frame.select_dtypes("number")
    return [str(name) for name in numbers if name not in others]


def first_metric(frame: pd.DataFrame) -> str:
    """The result to rank by unless one is named: the first error or loss that differs between runs, else the first
    result that does; ``seconds`` where there is none."""
    differing = [name for name in measures(frame) if frame[name].nunique() > 1] or measures(frame)
    errors = [name for name in differing if is_error(name)]
    return next(iter(errors or differing), "seconds")


def ranked(frame: pd.DataFrame, settings: list[str], metric: str, largest: bool = False) -> pd.DataFrame:
    """Settings, the best first: number of runs, mean, standard deviation, least and largest value of a result."""
    keys = [texts(frame[name]) for name in settings] or [pd.Series("all", frame.index, name="runs")]
    groups = frame.groupby(keys)[metric].agg(list(RANKED[1:]))
    return groups.sort_values("mean", ascending=not largest).reset_index()


def shown(frame: pd.DataFrame) -> str:
    """A table as text: the columns that differ between runs, so that it fits a screen."""
    columns = [name for name in frame if name == "id" or len(frame) == 1 or differs(frame[name])]
    # None would be written as such
    there = frame[columns].where(frame[columns].notna(), math.nan)
    return there.to_string(index=False, na_rep="", float_format=lambda number: f"{number:.4g}")


def report(experiment: str, out: str | Path, page: Path, metric: str = "", largest: bool = False) -> None:
    """Render the notebook ``report.ipynb`` about an experiment as an HTML page, ranked by a result."""
    from nbconvert import HTMLExporter

    with tempfile.TemporaryDirectory(prefix="vds-") as folder:
        executed = Path(folder) / "report.ipynb"
        settings = {"experiment": experiment, "runs": str(out), "metric": metric, "largest": largest}
        notebooks.run(Path(__file__).with_name("report.ipynb"), settings, executed)
        # a page's body alone, without scripts of other servers
        body, _ = HTMLExporter(template_name="basic", exclude_input=True).from_filename(str(executed))
    text = PAGE.format(title=f"Experiment {experiment}", style=STYLE, body=body)
    try:
        files.save(page, text)
    except OSError as error:
        raise NotebookError(f"cannot write {page}: {error.strerror}") from None


def write(frame: pd.DataFrame, path: str | Path) -> None:
    """Write a table by the ending of the file, .csv or .parquet; NotebookError for another ending or folder."""
    path = Path(path)
    try:
        if path.suffix not in (".csv", ".parquet"):
            raise NotebookError(f"cannot write {path}: the ending must be .csv or .parquet")
        with files.atomic(path) as temporary:
            if path.suffix == ".csv":
                frame.to_csv(temporary, index=False)
            else:
                frame.to_parquet(temporary, index=False)
    except OSError as error:
        raise NotebookError(f"cannot write {path}: {error.strerror or error}") from None
