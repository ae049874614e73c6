"""What the report about an experiment says: what was run, where it came from, how far to trust it, what failed."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from vdslib.errors import NotebookError
from vdslib.experiments import notebooks, results, scales, storage
from vdslib.experiments.effects import FEW, one_at_a_time
from vdslib.experiments.identity import digest
from vdslib.figures import number

# what is told even where all runs agree
ALWAYS = ("code", "python", "processor", "threads", "data", "tensorflow", "numpy", "scikit-learn")


def as_html(frame: pd.DataFrame) -> str:
    """A table for a page, numbers with four digits."""
    return frame.to_html(index=False, float_format=number, na_rep="", border=0)


# ------------------------------------------------------------------------------------------------ failures, origin


def failures(failed: pd.DataFrame) -> pd.DataFrame:
    """Failures by their error, the most frequent first; errors that differ in numbers alone are one."""
    kinds = failed["error"].str.replace(r"\d+(\.\d+)?", "…", regex=True)
    rows = [
        {"runs": len(part), "error of the first": part["error"].iloc[0], "its id": part["id"].iloc[0]}
        for _, part in failed.groupby(kinds, sort=False)
    ]
    columns = ["runs", "error of the first", "its id"]
    return pd.DataFrame(rows, columns=columns).sort_values("runs", ascending=False, ignore_index=True)


def origin(experiment: str, out: str, frame: pd.DataFrame) -> tuple[str, pd.DataFrame]:
    """What the runs came from: their scale in a sentence, and a table with the number of runs for each ``value`` of
    code, versions, processor, threads and data; packages beside ``ALWAYS`` are in it where runs differ in them."""
    place = storage.Place(out, experiment)
    known = [_facts(each) for each in place.read("environment.json").values()]
    known += [{}] * (len(frame) - len(known))
    facts = pd.DataFrame(known).fillna("unknown")
    rows = [
        {"what": name, "value": value, "runs": count}
        for name in facts
        if name in ALWAYS or facts[name].nunique() > 1
        for value, count in facts[name].value_counts().items()
    ]
    return _scale(place, frame), pd.DataFrame(rows, columns=["what", "value", "runs"])


def _facts(environment: Mapping[str, Any]) -> dict[str, str]:
    """What a run kept of where it ran, a text each; data by a digest of its digests."""
    changed = " with uncommitted changes" if environment.get("uncommitted_changes") else ""
    return {
        "code": (environment.get("commit", "")[:7] or "no commit") + changed,
        **{name: str(environment.get(name, "unknown")) for name in ("python", "processor", "threads")},
        "data": digest(json.dumps(environment.get("data", {}), sort_keys=True))[:7],
        **{name: version for name, version in environment.get("packages", {}).items() if name != "vdslib"},
    }


def _scale(place: storage.Place, frame: pd.DataFrame) -> str:
    """The scale of an experiment, by the parameters that none of its runs varies."""
    abouts = {**place.read(storage.FAILED), **place.read(storage.DONE)}
    chapters = sorted({about["notebook"] for about in abouts.values()})
    if len(chapters) > 1:
        return f"**Runs of several notebooks**: {', '.join(chapters)}."
    (chapter,) = chapters
    usual = _defaults(place, chapter, list(abouts))
    if not usual:
        return f"Notebook: {chapter}; its default parameters are not known here."
    first = next(iter(place.read("parameters.json").values()))
    fixed = {name: value for name, value in first.items() if not results.differs(frame[results.column(name)])}
    other = scales.changed(usual, fixed)
    scale = scales.name(chapter, other)
    text = ", ".join(f"{name} {value}" for name, value in other.items())
    if scale:
        return f"Notebook: {chapter}, at the scale *{scale}*{f' ({text})' if text else ''} but for what was varied."
    return f"Notebook: {chapter}; other than its defaults, for all runs: {text}."


def _defaults(place: storage.Place, chapter: str, ids: Sequence[str]) -> dict[str, Any]:
    """Defaults of the notebook: of an executed copy, else as the chapter has them now; empty where neither is there."""
    for run in ids[:5]:
        address = f"{place.folder(run)}/notebook.ipynb"
        if place.files.exists(address):
            try:
                return scales.defaults(json.loads(place.files.cat_file(address)))
            except (ValueError, NotebookError):
                continue
    try:
        return {parameter.name: parameter.default for parameter in notebooks.parameters(chapter)}
    except NotebookError:
        return {}


# ------------------------------------------------------------------------------------------------ words


def summary(
    experiment: str, table: pd.DataFrame, settings: Sequence[str], metric: str, largest: bool
) -> list[str]:
    """What the experiment is: numbers of runs, the result that ranks, what was varied."""
    finished = table[table["state"] == "done"]
    end = "largest" if largest else "smallest"
    states = table["state"].value_counts()
    counts = (
        f"{len(table)} run{'s'[: len(table) > 1]}, {len(finished)} done, {states.get('failed', 0)} failed"
    )
    if "diverged" in states:
        counts += f", {states['diverged']} diverged, whose errors are no numbers and which are not ranked"
    if not len(finished):
        return [f"**{experiment}**: {counts}."]
    lines = [f"**{experiment}**: {counts}; ranked by `{metric}`, the {end} as the best."]
    if metric == "seconds":
        lines.append("The time that a run took stands in the place of a result.")
    if missing := int(finished[metric].isna().sum()):
        lines.append(
            f"**Without a value of it**, and left out of what follows: {missing} of the finished runs."
        )
    if settings:
        lines.append(f"Varied: {', '.join(f'`{name}`' for name in settings)}.")
    return lines


def meaning(done: pd.DataFrame, settings: Sequence[str]) -> str:
    """What points, dots and bars of the effects are, or why there are none."""
    if not len(done):
        return "No run with a result, so there is nothing to compare."
    if not settings:
        return "No parameter but seeds differs between runs with a result, so there is no effect to show."
    text = (
        "Each grey point is a run. A dot is the median of the runs with that value (of a tenth of the runs, where "
        f"there are more than {FEW} values), and its bar reaches from their lower to their upper quartile. "
    )
    if base := one_at_a_time(done, settings):
        values = ", ".join(f"`{name}` {value}" for name, value in base.items())
        return f"{text}One parameter changed at a time: each panel has the runs with all others at {values}."
    if len(settings) == 1:
        return f"{text}Within one value only the seed differs."
    return f"{text}Within one value the other parameters differ too, so a bar shows their effect and that of the seed."


def caution(ranked: pd.DataFrame) -> str:
    """How far the ranking can be trusted."""
    if not len(ranked):
        return "None, as no run has a result."
    if len(ranked) == 1:
        number_of_runs = int(ranked["count"].iloc[0])
        return f"There is one setting, of {number_of_runs} run{'s'[: number_of_runs > 1]}."
    if (ranked["count"] == 1).all():
        text = f"{len(ranked)} settings, **each run once**: nothing here tells merit from the luck of a seed."
    else:
        text = (
            f"{len(ranked)} settings; runs that differ in their seed alone are one setting, so spread is that over "
            "seeds. Settings that differ by less than their spread cannot be told apart."
        )
    return f"{text} The first of many owes its place in part to luck: judge it by other seeds and other data."


def failed_in_words(table: pd.DataFrame) -> str:
    """How many runs failed, and values with which every run did."""
    failed = table[table["state"] == "failed"]
    if not len(failed):
        return "None."
    text = (
        f"{len(failed)} of {len(table)} runs, by the last line of their error; errors that differ in numbers alone "
        "are one. `failed.json` of each run has its whole traceback."
    )
    always = []
    for name in results.varied(table):
        for value, part in table.groupby(results.texts(table[name]))["state"]:
            if len(part) > 1 and (part == "failed").all() and len(part) < len(table):
                always.append(f"`{name}` {value} ({len(part)})")
    return f"{text} Values with which all runs failed: {', '.join(always[:8])}." if always else text


def time_in_words(finished: pd.DataFrame) -> str:
    """Wall time of the finished runs, and what of it lies beyond their cells."""
    if not len(finished):
        return "No run is finished."
    seconds, cells = finished["seconds"], finished["cell_seconds"].astype(float)
    total = seconds.sum()
    spent = f"{number(round(total / 3600, 2))} hours" if total >= 3600 else f"{total:.3g} s"
    text = f"All finished runs ({len(finished)}) together: {spent}; the median is {seconds.median():.3g} s. "
    if cells.isna().all():
        return f"{text}What part of it the cells took is not known, as no notebook was executed."
    return (
        f"{text}Cells take {cells.median():.3g} s of a run; {(seconds - cells).median():.3g} s lie beyond them: "
        "the start of a kernel, and files."
    )
