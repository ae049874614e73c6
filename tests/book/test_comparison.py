"""How two runs of a notebook are compared, and how tolerances are measured."""

import dataclasses
from pathlib import Path

import comparison
import nbformat
import numerics
import pytest


def printed(text: str) -> list[dict]:
    """The outputs of a cell that printed a text."""
    return [{"output_type": "stream", "name": "stdout", "text": text}]


def agree(one: str, two: str, tolerances: comparison.Tolerances | None = None) -> bool:
    """Do two printed texts agree?"""
    return not comparison.differences(printed(one), printed(two), tolerances or {})


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [
        ("a  0.500 b", "a 0.5000001 b", True),
        ("[1. 0.5]", "[ 1.0000001  0.5]", True),
        ("0.5", "0.5003", False),
        ("12 rows", "13 rows", False),
        ("1,200,000 rows", "1,200,001 rows", False),
        ("loss 1e-3", "loss 1.2e-3", False),
        ("nan", "nan", True),
        ("nan", "1.0", False),
        ("lower 0.5", "higher 0.5", False),
        ("0.5 0.5", "0.5", False),
        ("(10, 5)", "(10, 6)", False),
        ("| --- |\n| 9.99 |", "| ----- |\n| 9.990001 |", True),
        ("<td>0.25</td>", "<td>0.30</td>", False),
        ("23.5%", "28.2%", False),
        ("-0.5", "0.5", False),
        ("difference 0.0", "difference 1e-17", True),
    ],
)
def test_numbers_compare_by_value_and_words_exactly(one: str, two: str, same: bool) -> None:
    assert agree(one, two) is same


def test_each_number_of_an_output_is_compared_as_what_it_is() -> None:
    old = "ridge 0.0131 network 0.0128 epochs 9"
    tolerances = {("stdout", 1): 0.05, ("stdout", 2): None}
    assert agree(old, "ridge 0.0131 network 0.0133 epochs 14", tolerances)
    assert not agree(old, "ridge 0.0132 network 0.0128 epochs 9", tolerances)
    assert not agree(old, "ridge 0.0131 network 0.0138 epochs 9", tolerances)
    assert not agree(old, "ridge 0.0131 network 0.0128 weeks 9", tolerances)


def test_differences_name_what_moved() -> None:
    glued = {"output_type": "display_data", "metadata": {"scrapbook": {"name": "mse"}}}
    kind = "application/papermill.record/text/plain"
    old, new = ([glued | {"data": {kind: text}}] for text in ("0.0128", "0.0151"))
    assert [str(change) for change in comparison.differences(old, new, {("mse text/plain", 0): 0.05})] == [
        "mse text/plain: '0.0128': 0.0128 became 0.0151 (tolerance 0.05)"
    ]
    words = comparison.differences(printed("a\nclaim: holds\n"), printed("a\nclaim: undecided\n"), {})
    assert [(change.old, change.new) for change in words] == [("claim: holds", "claim: undecided")]


def test_a_table_is_compared_once_unless_its_text_is_cut() -> None:
    html = "<style>th {width: 9px}</style><table><td>0.5</td><td>7</td></table>"
    whole, cut = ({"data": {"text/html": html, "text/plain": text}} for text in ("0.5  7", "0.5 ..."))
    assert list(comparison.texts([whole])) == ["output text/plain"]
    assert list(comparison.texts([cut])) == ["output text/html", "output text/plain"]


@pytest.mark.parametrize(
    ("number", "share"),
    [("0.0128", 1 / 128), ("12", 1 / 12), ("-1.5e-3", 0.1 / 1.5), ("0.006390183400738", 0.0)],
)
def test_resolution_is_a_unit_of_the_last_digit(number: str, share: float) -> None:
    assert comparison.resolution(number) == pytest.approx(share)


def measured(value: str, range_: float, touched: bool = True) -> numerics.Measured:
    """One number as it was measured."""
    return numerics.Measured("n", "c", "stdout", 0, value, range_, touched)


def test_tolerances_follow_the_range_and_never_hide_a_fifth() -> None:
    assert measured("0.012834567891", 0.004).tolerance == pytest.approx(0.016)
    assert measured("0.0128", 0.0).tolerance == pytest.approx(1 / 128)  # a unit of the last digit
    assert measured("0.012834567891", 0.07).tolerance == pytest.approx(0.16)
    assert measured("0.012834567891", 0.09).tolerance is None
    assert measured("3", 0.0).tolerance is None  # a count that training decides: one more is a third
    assert measured("0.012834567891", 0.0).tolerance == 1e-4
    assert measured("3", 0.0, touched=False).tolerance == comparison.DETERMINISTIC


def test_faults_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def with_tolerance(allowed: float | None, one: numerics.Measured) -> int:
        table = {("n", "c"): {("stdout", 0): allowed}}
        monkeypatch.setattr(comparison, "read_tolerances", lambda root: table)
        return len(numerics.faults([one], []))

    wide = measured("0.012834567891", 0.01)
    assert [with_tolerance(allowed, wide) for allowed in (0.04, 0.019, 0.11, None)] == [0, 1, 1, 0]
    assert with_tolerance(0.16, measured("0.012834567891", 0.09)) >= 1
    assert with_tolerance(None, measured("0.012834567891", 0.09)) == 0
    assert len(numerics.faults([], ["words changed"])) == 1


def test_the_measured_table_is_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    monkeypatch.setattr(numerics, "TABLE", tmp_path / "data" / "numerics.csv")
    numbers = [measured("0.0128", 0.004), measured("9", 0.3), measured("5", 0.0, touched=False)]
    numerics.save([dataclasses.replace(one, number=place) for place, one in enumerate(numbers)])
    assert comparison.read_tolerances(tmp_path) == {("n", "c"): {("stdout", 0): 0.016, ("stdout", 1): None}}


def test_runs_of_other_code_or_without_traces_measure_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numerics, "ROOT", tmp_path)
    monkeypatch.setattr(numerics.inputs, "notebooks", lambda root: [tmp_path / "a.ipynb"])
    for name, code in {
        "": "1",
        **dict.fromkeys([*map(str, range(1, numerics.DRAWS + 1)), numerics.SHOWN], "2"),
    }.items():
        path = tmp_path / (f"{numerics.folder(name)}/executed" if name else "") / "a.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)]), path)
    with pytest.raises(SystemExit, match="a, code cell 1: the runs have other code"):
        numerics.compare()
    monkeypatch.setattr(numerics.traces, "available", lambda name: False)
    with pytest.raises(SystemExit, match="set VDS_TRACES"):
        numerics.main([])


def test_a_unit_of_the_last_digit_is_still_allowed_when_its_tolerance_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    monkeypatch.setattr(numerics, "TABLE", tmp_path / "data" / "numerics.csv")
    for value, moved in (("14", "15"), ("0.17", "0.18"), ("-1.3e-07", "-1.4e-07"), ("70", "71")):
        numerics.save([measured(value, 0.0)])
        ((_, cell),) = comparison.read_tolerances(tmp_path).items()
        assert comparison.is_close(value, moved, cell["stdout", 0]), (value, cell)
