"""The pages of the book and the texts at the top: what they name exists, what they tell readers to type works."""

import argparse
import re
import runpy
import shlex

import generated_tables
import pytest
import yaml
from prose import BOOK, NOTEBOOKS, PAGES, ROOT, blocks, text_of

from vdslib import experiments, sources
from vdslib.cli import main, parser, read_parameters
from vdslib.experiments import runs, sweeps
from vdslib.telemetry import FAULTS, tables
from vdslib.testbed import recorder, workload

# ------------------------------------------------------------------------------------------------ glossary


def glossary_terms():
    body = blocks(BOOK / "glossary.md", r"\{glossary\}")[0]
    return [line.strip() for line in body.splitlines() if line and not line.startswith(" ")]


def test_glossary_terms_are_unique_and_have_a_meaning():
    terms = glossary_terms()
    assert len({term.lower() for term in terms}) == len(terms)
    assert not re.search(r"^\S.*\n\n", blocks(BOOK / "glossary.md", r"\{glossary\}")[0], re.MULTILINE)


def test_the_abbreviations_of_the_paper_share_one_entry():
    assert re.search(
        r"^VDS\nVRS\nHRS\nВРС\n  \S", blocks(BOOK / "glossary.md", r"\{glossary\}")[0], re.MULTILINE
    )


@pytest.mark.parametrize("path", PAGES + NOTEBOOKS, ids=lambda path: path.name)
def test_terms_used_are_in_the_glossary(path):
    used = re.findall(r"\{term\}`([^`]+)`", text_of(path))
    names = {re.sub(r".*<([^>]+)>", r"\1", " ".join(name.split())) for name in used}
    assert {name.lower() for name in names} <= {term.lower() for term in glossary_terms()}


# ------------------------------------------------------------------------------------------------ chapters


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_the_title_carries_the_number_of_the_paper_s_section(path):
    number = ".".join(re.match(r"[\d-]*\d", path.stem)[0].split("-"))
    assert re.match(rf"# {re.escape(number)} \w", text_of(path))


# ---------------------------------------------------------------------------------------- top-level texts


def test_files_named_in_the_readme_exist():
    named = re.findall(r"`([\w./-]+)`", text_of(ROOT / "README.md"))
    paths = [name for name in named if ("/" in name or "." in name or name.isupper()) and name != ".venv"]
    assert len(paths) >= 12
    assert [name for name in paths if not (ROOT / name).exists()] == []


MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z][\w.-]*):(?!=)", MAKEFILE, re.MULTILINE))


def make_commands(text):
    """The targets that a text tells readers to make, in a block of commands or in the midst of a sentence."""
    typed = re.findall(r"^```(?:bash|text)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    lines = re.findall(r"^make\b(.*)$", "\n".join(typed), re.MULTILINE)
    lines += re.findall(r"`make\b([^`\n]*)`", text)
    words = [word for line in lines for word in shlex.split(line, comments=True)]
    return {word for word in words if "=" not in word}


def test_commands_of_make_are_read_whole():
    block = "```bash\nmake\nmake book  # all\nmake bench lab\n```"
    text = f"{block}\n`make test-slow` and `make UV=uv lock`\nmake sense, as do `make` and `makes`"
    assert make_commands(text) == {"book", "test-slow", "lock", "bench", "lab"}


def test_make_commands_exist():
    for path in (ROOT / "README.md", ROOT / "data" / "README.md", *PAGES, *NOTEBOOKS):
        assert make_commands(text_of(path)) <= TARGETS, path.name


def test_every_make_target_is_listed_by_make_and_in_the_readme():
    assert set(re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)[1].split()) == TARGETS >= {"test-slow"}
    assert set(re.findall(r"^(\S+):.*## ", MAKEFILE, re.MULTILINE)) - {"$(READY)"} == TARGETS
    rows = re.findall(r"^\| `make ([\w-]+)` \|", text_of(ROOT / "README.md"), re.MULTILINE)
    assert sorted(rows) == sorted(TARGETS - {"help"})


def test_the_readme_begins_with_the_two_commands():
    commands = blocks(ROOT / "README.md", "bash")[0].splitlines()
    assert [line.split("#")[0].strip() for line in commands] == ["make book", "make test"]


def test_citation_and_licence_agree():
    citation = yaml.safe_load(text_of(ROOT / "CITATION.cff"))
    assert citation["cff-version"] and citation["license"] == "MIT"
    assert {person["family-names"] for person in citation["references"][0]["authors"]} == {
        "Tolstoluzka",
        "Telezhenko",
    }
    licence = text_of(ROOT / "LICENSE")
    assert "MIT License" in licence and "Creative Commons Attribution 4.0" in licence


# ------------------------------------------------------------------------------------ commands on the pages


def commands():
    """Every command line of the pages that is not ``make``, and every use of ``vds`` in the notebooks."""
    for path in (ROOT / "README.md", *PAGES):
        for block in blocks(path, "bash"):
            for line in block.replace("\\\n", " ").splitlines():
                if line.strip() and not line.startswith("make"):
                    yield pytest.param(line, id=f"{path.name}: {line[:60]}")
    for path in NOTEBOOKS:
        for line in re.findall(
            r"(?:^|`)(vds (?:run|params|record|import|sweep|results) [^`\n]+)", text_of(path), re.MULTILINE
        ):
            yield pytest.param(line, id=f"{path.name}: {line[:60]}")


def papermill_parser():
    """The part of papermill's command line that the pages use."""
    parser = argparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("notebook")
    parser.add_argument("output")
    parser.add_argument("-p", nargs=2, action="append", default=[], dest="parameters")
    parser.add_argument("-y", default="{}", dest="yaml")
    return parser


@pytest.mark.parametrize("line", list(commands()))
def test_commands_can_be_typed(line, tmp_path, monkeypatch):
    program, *arguments = [word for word in shlex.split(line) if not re.match(r"[A-Z_]+=", word)]
    if program == "papermill":
        options = papermill_parser().parse_args(arguments)
        given = {**yaml.safe_load(options.yaml), **dict(options.parameters)}
        assert (ROOT / options.notebook).is_file()
        assert experiments.check(ROOT / options.notebook, given).keys() == given.keys()
    elif program == "vds":
        monkeypatch.chdir(tmp_path)
        (tmp_path / "small.yaml").write_text(blocks(BOOK / "rerun.md", "yaml")[0])
        options = parser().parse_args(arguments)
        if options.name == "import" and not line.endswith("/"):  # a folder becomes a store
            tables.check_ending(options.out)
            assert set(dict(options.columns)) <= set(tables.COLUMNS)
            assert all(policy in FAULTS[fault].policies for fault, policy in options.policies)
        if options.name == "params":
            assert experiments.parameters(options.notebook)
        if options.name == "run":
            given = {**read_parameters(options.file), **dict(options.parameters)}
            assert experiments.check(options.notebook, given).keys() == given.keys()
        if options.name == "sweep":
            page = blocks(BOOK / "study.md", "yaml")
            for plan in page:
                made, _ = sweeps.plan(
                    runs.subject(options.notebook), yaml.safe_load(plan), dict(options.parameters)
                )
                assert len(made) > 1
    else:
        assert program in {"source", "jupyter"}, f"no test knows {program}"


def test_the_example_of_own_telemetry_is_valid(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my-telemetry.csv").write_text(blocks(BOOK / "rerun.md", "text")[0])
    (tmp_path / "example.py").write_text("\n".join(blocks(BOOK / "rerun.md", "python")[:2]))
    names = runpy.run_path("example.py")
    assert len(names["frame"]) == len(tables.read("my-repaired.csv")) == 4
    assert names["report"].lost == 0
    assert tables.default_target(names["frame"]) == "cpu_usage"


def test_the_example_of_reading_a_source_runs(tmp_path):
    (tmp_path / "example.py").write_text(blocks(BOOK / "sources.md", "python")[0])
    names = runpy.run_path(str(tmp_path / "example.py"))
    assert len(names["frame"]) == 21600 and names["target"] == "system_productivity"


def test_the_source_of_ones_own_runs_as_printed(tmp_path, monkeypatch, capsys, registries):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "web-1.txt").write_text(blocks(BOOK / "sources.md", "text")[0])
    (tmp_path / "vmstat_source.py").write_text(blocks(BOOK / "sources.md", "python")[1])
    monkeypatch.setenv("VDS_SOURCES", str(tmp_path / "vmstat_source.py"))
    line = next(line for line in blocks(BOOK / "sources.md", "bash")[-1].splitlines() if "vmstat:" in line)
    assert main(shlex.split(line)[2:]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("note: the first row was left out")
    assert printed.endswith("imported web-1.csv: 2 rows of 1 node; target cpu_usage\n")
    rows = tables.read("web-1.csv")
    assert rows["cpu_usage"].tolist() == [25, 45] and rows["disc_usage"].tolist() == [36, 616]
    assert set(rows["node"]) == {"web-1"} and "memory_usage" not in rows
    (tmp_path / "local.txt").write_text((tmp_path / "web-1.txt").read_text().replace("UTC", "CET"))
    for wrong in ("vmstat:none.txt", "vmstat:local.txt"):
        assert main(["import", wrong, "--out", "x.csv"]) == 2


def test_the_forecaster_of_ones_own_runs_as_printed(tmp_path, registries):
    own, *rest = blocks(BOOK / "own-forecaster.md", "python")
    body = [line for line in own.partition("@register")[2].splitlines() if line.strip()]
    assert len(body) <= 20
    (tmp_path / "own.py").write_text("\n".join([own, *rest]))
    names = runpy.run_path(str(tmp_path / "own.py"))
    assert {"analogues", "persistence", "mean", "ridge", "ARIMA"} <= set(names["table"].index)
    assert names["table"].loc["analogues", "skill"] > 0
    assert names["held"] == pytest.approx(0.8, abs=0.1)


# ---------------------------------------------------------------------------------------------- datasheet


def test_the_datasheet_is_complete_and_fits_the_file():
    sheet = text_of(ROOT / "data" / "README.md")
    recorded = ROOT / "data" / "vds_data.csv"
    assert "@@" not in sheet
    assert tables.checksum(recorded) in sheet
    rows = recorded.read_text(encoding="utf-8").count("\n") - 1
    assert f"{rows:,} rows" in sheet
    assert "CC BY 4.0" in sheet


def test_the_datasheet_describes_the_columns_of_the_file_in_order():
    sheet = text_of(ROOT / "data" / "README.md").split("## Columns")[1].split("\n## ")[0]
    described = re.findall(r"^\| `(\w+)` \|", sheet, re.MULTILINE)
    with (ROOT / "data" / "vds_data.csv").open(encoding="utf-8") as file:
        header = file.readline().strip().split(",")
    assert described == header


def test_the_datasheet_describes_the_testbed_as_it_is():
    sheet = text_of(ROOT / "data" / "README.md")
    nodes = f"each with {recorder.CORES:g} of a core and a memory allowance of {recorder.MEMORY_MB} MB"
    assert nodes in sheet
    for kind in workload.CLASSES:
        disc = f"{kind.disc_kb:,} KB" if kind.disc_kb else "none"
        moved = f"{kind.request_kb}, {kind.reply_kb} KB"
        times = f"{kind.cpu_ms:g} ms", f"{kind.deadline_s:g} s"
        row = f"| {kind.name} | {times[0]} | {kind.memory_kb:,} KB | {disc} | {moved} | {times[1]} |"
        assert row in sheet


# ------------------------------------------------------------------------------------------ generated pages


class App:
    """As much of a Sphinx application as the extension needs."""

    def __init__(self):
        self.dependencies = []
        self.env = self

    def note_dependency(self, path):
        self.dependencies.append(path)


def filled(page):
    app, content = App(), [text_of(BOOK / f"{page}.md")]
    generated_tables.fill(app, f"book/{page}", content)
    assert "<!-- generated" not in content[0]
    return content[0], app.dependencies


def test_the_data_dictionary_has_every_column():
    text, dependencies = filled("data-dictionary")
    assert re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE) == list(tables.COLUMNS)
    assert str(ROOT / "vdslib" / "telemetry" / "schema.py") in dependencies


def test_the_page_of_sources_has_every_source_and_citation():
    text, dependencies = filled("sources")
    assert re.findall(r"^\| `([\w.-]+)` \|", text, re.MULTILINE) == [
        source.name for source in sources.sources()
    ]
    for source in sources.sources():
        assert not source.citation or f"\n- `{source.name}`: {source.citation.split(':')[0]}" in text
    assert str(ROOT / "vdslib" / "sources" / "bitbrains.py") in dependencies


def test_the_parameter_page_has_every_parameter_of_every_notebook():
    text, dependencies = filled("parameters")
    sections = {part.splitlines()[0].strip("`"): part for part in text.split("\n## ")[1:]}
    assert list(sections) == [path.stem for path in NOTEBOOKS]
    for path in NOTEBOOKS:
        rows = re.findall(r"^\| `(\w+)` \|", sections[path.stem], re.MULTILINE)
        assert rows == [parameter.name for parameter in experiments.parameters(path)]
        assert str(path) in dependencies


def test_the_library_page_has_every_room_and_what_its_face_offers():
    text, dependencies = filled("api")
    rooms = sorted(path.parent.name for path in (ROOT / "vdslib").glob("*/__init__.py"))
    assert set(rooms) < set(re.findall(r"^## `vdslib\.(\w+)`", text, re.MULTILINE))
    for name in (
        "vdslib.telemetry",
        "vdslib.forecasting.intervals",
        "vdslib.testbed.recorder",
        "vdslib.chapters.leaks",
    ):
        assert f".. automodule:: {name}\n   :members:" in text
    assert str(ROOT / "vdslib" / "registry.py") in dependencies


def test_a_marker_that_nothing_answers_is_refused():
    with pytest.raises(ValueError, match="nothing is called 'columns'"):
        generated_tables.fill(App(), "book/page", ["<!-- generated: columns -->"])
