"""The committed notebooks: their form, and that the comparison would notice a changed result.

That their results still come out is what nbval checks, in the same run of pytest, with tests/notebook_comparison.py.
"""

import copy
import itertools
import re
from collections import Counter
from pathlib import Path

import comparison
import execution
import nbformat
import notebook_comparison
import pytest

NOTEBOOKS = sorted((execution.ROOT / "notebooks").glob("*.ipynb"))
MACHINE_PATHS = re.compile(r"(?<![\w.])/(?:home|root|tmp|work|Users|usr|var|opt|private)/\w")
TOLERANCES = comparison.read_tolerances(execution.ROOT)
every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def read(path: Path) -> nbformat.NotebookNode:
    """A committed notebook."""
    return nbformat.read(path, as_version=4)


def code(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    """Its code cells."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


# ------------------------------------------------------------------------------------------------ form


@every_notebook
def test_every_code_cell_was_run_in_order_and_is_compared(path: Path) -> None:
    cells = code(read(path))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1)), "run make notebooks"
    assert [notebook_comparison.refusal(cell) for cell in cells] == [""] * len(cells)


@every_notebook
def test_one_parameters_cell_with_typed_explained_lines(path: Path) -> None:
    tagged = [cell for cell in code(read(path)) if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    source = re.sub(r"\[\n\s+(.*),\n\]", r"[\1]", tagged[0].source)  # a list that is longer than a line
    for line in source.strip().splitlines():
        if line and not line.startswith("#"):
            assert re.fullmatch(r"\w+: [\w\[\] |.]+ = [^#]+  # [^=]+", line), line


@every_notebook
def test_notebook_is_in_plain_form(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    notebook = read(path)
    assert nbformat.writes(execution.normalise(copy.deepcopy(notebook))).strip() == text.strip(), (
        "run make notebooks"
    )
    tags = {tag for cell in notebook.cells for tag in cell.metadata.get("tags", [])}
    assert "injected-parameters" not in tags


@every_notebook
def test_outputs_hold_no_errors_no_stderr_and_no_paths_of_a_machine(path: Path) -> None:
    for number, cell in enumerate(code(read(path)), start=1):
        for output in cell.outputs:
            assert output.output_type != "error", number
            assert output.get("name") != "stderr", number
            texts = [
                output.get("text", ""),
                *(v for k, v in output.get("data", {}).items() if "image" not in k),
            ]
            assert not MACHINE_PATHS.search(" ".join(map(str, texts))), number
        assert not MACHINE_PATHS.search(cell.source), number


@every_notebook
def test_images_have_alternative_text_made_from_their_data(path: Path) -> None:
    for number, cell in enumerate(code(read(path)), start=1):
        own = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
        for output in cell.outputs:
            for kind in ("image/png", "image/svg+xml"):
                if kind in output.get("data", {}):
                    alt = output.metadata.get(kind, {}).get("alt", "") or own
                    assert len(alt.split()) > 3, f"cell {number}: an image needs words, has {alt!r}"


@every_notebook
def test_tables_in_markdown_are_rendered_as_tables(path: Path) -> None:
    """MyST-NB reads a cell's Markdown output as CommonMark, which has no tables, unless the cell says otherwise."""
    for cell in code(read(path)):
        shown = "".join(output.get("data", {}).get("text/markdown", "") for output in cell.outputs)
        if "| --- |" in shown or "tables.markdown(" in cell.source:
            assert cell.metadata.get("mystnb", {}).get("markdown_format") == "myst", cell.source


@every_notebook
def test_cells_are_short(path: Path) -> None:
    # in full lines of 79 characters, as the formatter decides about their number
    lengths = sorted(len(" ".join(cell.source.split())) / 79 for cell in code(read(path)))
    # the parameters cell is as long as there are parameters; one longer cell in ten may be needed
    assert lengths[int(0.9 * (len(lengths) - 1))] <= 9, lengths


@every_notebook
def test_results_in_prose_come_from_the_run(path: Path) -> None:
    """No number typed by hand under "What we found": each is glued."""
    heading, found = "", False
    for cell in read(path).cells:
        if cell.cell_type != "markdown":
            continue
        for line in cell.source.splitlines():
            heading = line.strip("# ").lower() if line.startswith("#") else heading
            if heading == "what we found" and not line.startswith("#"):
                found = True
                numerals = bare_numerals(line)
                assert not numerals, f"typed by hand: {numerals} in {line!r}"
    assert found, "the section 'What we found' is missing"


def bare_numerals(line: str) -> list[str]:
    """Numbers in a line of prose that are neither glued, nor part of a name, a formula or a reference."""
    line = re.sub(r"\{[\w:-]+\}`[^`]*`|`[^`]*`|\$[^$]*\$|\]\([^)]*\)|https?:\S+", "", line)
    line = re.sub(
        r"(?i)\b(?:section|sections|fig\.|figure|table|symbol|chapter|step|reference|node)s?[ -]\[?[\d.,]+",
        "",
        line,
    )
    return re.findall(r"(?<![\w.-])[+-]?\d+(?:[.,]\d+)*\s?%?", line)


def test_bare_numerals_are_found_and_references_are_not() -> None:
    assert bare_numerals("The error is 0.31, that is 12 % lower on 5 folds.") == ["0.31", "12 %", "5 "]
    assert (
        bare_numerals("It is {glue:text}`mse:.3f`, `x1 = 3`, $a_1 = 2$, Fig. 2, section 3.2, node-1, LSTM2.")
        == []
    )


# ------------------------------------------------------- would the comparison notice a changed result?


def with_one_changed(outputs: list[nbformat.NotebookNode], place: comparison.Place) -> list:
    """Copies of a cell's outputs, in the form that is compared, with one number 20 % larger."""
    name, wanted = place
    text = comparison.texts(outputs)[name]
    match = next(itertools.islice(comparison.NUMBER.finditer(text), wanted, None))
    larger = f"{comparison.value(match[0]) * 1.2:.9g}"
    return as_outputs(
        comparison.texts(outputs) | {name: text[: match.start()] + larger + text[match.end() :]}
    )


def as_outputs(texts: dict[str, str]) -> list[dict]:
    """Outputs that compare as these texts."""
    return [{"name": name, "text": text} for name, text in texts.items()]


def test_a_change_of_20_percent_turns_the_comparison_red_unless_the_number_is_noise() -> None:
    planted: Counter[str] = Counter()
    for path in NOTEBOOKS:
        for cell in code(read(path)):
            tolerances, numbers = TOLERANCES.get((path.stem, cell.id), {}), comparison.numbers(cell.outputs)
            same = as_outputs(comparison.texts(cell.outputs))
            assert comparison.differences(same, same, tolerances) == []
            places = [place for place, number in numbers.items() if comparison.value(number)]
            for place in places[:: max(1, len(places) // 8)]:
                allowed = tolerances.get(place, comparison.DETERMINISTIC)
                if allowed is not None:
                    again = with_one_changed(cell.outputs, place)
                    assert comparison.differences(same, again, tolerances), f"{path.stem} {place} may change"
                    whole = "count" if comparison.is_whole(numbers[place]) else "float"
                    planted[whole, "deterministic" if place not in tolerances else "trained"] += 1
    assert sum(planted.values()) >= 30, planted
    assert {("count", "deterministic"), ("float", "deterministic"), ("float", "trained")} <= planted.keys()


def write_executed(path: Path, *cells: tuple[str, list[nbformat.NotebookNode], list[str]]) -> None:
    """A notebook whose code cells (source, outputs, tags) count as executed."""
    notebook = nbformat.v4.new_notebook()
    for number, (source, outputs, tags) in enumerate(cells, start=1):
        cell = nbformat.v4.new_code_cell(source, outputs=outputs, execution_count=number)
        cell.metadata.tags = tags
        notebook.cells.append(cell)
    nbformat.write(notebook, path)


def test_wiring_of_nbval(pytester: pytest.Pytester, root: Path) -> None:
    """Small notebooks, really run by pytest as the committed ones are."""

    def stream(text: str) -> list[nbformat.NotebookNode]:
        return [nbformat.v4.new_output("stream", name="stdout", text=text)]

    trained = "print('mse', 0.5000, 'epochs', 10)"
    cells = {
        "same": (trained, stream("mse 0.5000001 epochs 10\n"), []),
        "float": (trained, stream("mse 0.5010 epochs 10\n"), []),
        "trained-within": (trained, stream("mse 0.5200 epochs 11\n"), []),
        "trained-float": (trained, stream("mse 0.6000 epochs 11\n"), []),
        "count": (trained, stream("mse 0.5000 epochs 12\n"), []),
        "cleared-outputs": (trained, [], []),
        "skipped": (trained, stream("mse 0.5000 epochs 10\n"), ["nbval-skip"]),
        "ignored": (trained + "  # NBVAL_IGNORE_OUTPUT", stream("x"), []),
    }
    table = ["notebook,cell,output,number,value,range,tolerance"]
    for name, cell in cells.items():
        write_executed(pytester.path / f"{name}.ipynb", cell)
        if name.startswith("trained"):
            identity = read(pytester.path / f"{name}.ipynb").cells[0].id
            table += [f"{name},{identity},stdout,0,0.5,0.02,0.05", f"{name},{identity},stdout,1,10,0.2,"]
    (pytester.path / "data").mkdir()
    (pytester.path / "data" / "numerics.csv").write_text("\n".join(table) + "\n")
    write_executed(pytester.path / "never-run.ipynb", (trained, [], []))
    notebook = read(pytester.path / "never-run.ipynb")
    notebook.cells[0].execution_count = None
    nbformat.write(notebook, pytester.path / "never-run.ipynb")

    paths = sorted(pytester.path.glob("*.ipynb"))
    result = pytester.runpytest_subprocess(
        f"--rootdir={pytester.path}",
        "-c",
        str(root / "pyproject.toml"),
        "-rA",
        "-p",
        "no:cacheprovider",
        *paths,
    )
    lines = [line for line in result.outlines if re.match(r"(PASSED|FAILED|ERROR) ", line)]
    outcomes = {Path(line.split()[1].split("::")[0]).stem: line.split()[0] for line in lines}
    green = {name for name, outcome in outcomes.items() if outcome == "PASSED"}
    assert set(outcomes) == {*cells, "never-run"}
    assert green == {"same", "trained-within"}
