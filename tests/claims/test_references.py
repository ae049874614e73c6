"""The bibliography: well formed, complete, cited; the twelve references of the paper among it."""

import re

import pytest
from prose import BOOK, NOTEBOOKS, PAGES, text_of
from pybtex.database import parse_file

# the references of the paper in its order, by DOI as printed there
PAPER = [
    "10.48550/arXiv.2207.02937",
    "10.1186/s13638-019-1605-z",
    "10.3390/math12020200",
    "10.3390/s24103004",
    "10.3390/info15030136",
    "10.3390/technologies12060081",
    "10.1007/s10723-024-09746-6",
    "10.1186/s13677-021-00276-0",
    "10.1186/s13677-022-00362-x",
    "10.1186/s43067-023-00081-6",
    "10.48550/arXiv.1605.08695",
    "10.1613/jair.953",
]


@pytest.fixture(scope="module")
def references():
    return parse_file(BOOK / "references.bib").entries


def test_dois_are_well_formed(references):
    for key, entry in references.items():
        if "doi" in entry.fields:
            assert re.fullmatch(r"10\.\d{4,9}/[!-~]+", entry.fields["doi"]), key


def test_the_twelve_references_of_the_paper_are_there_in_its_order(references):
    ours = {
        int(entry.fields["place"]): entry.fields["doi"]
        for entry in references.values()
        if entry.fields["keywords"] == "paper"
    }
    assert [ours[place] for place in sorted(ours)] == PAPER


def test_every_other_reference_is_shown_too(references):
    kinds = {entry.fields["keywords"] for entry in references.values()}
    assert kinds == {"paper", "book"}
    shown = re.findall(r':filter: keywords % "(\w+)"', text_of(BOOK / "bibliography.md"))
    assert sorted(shown) == ["book", "paper"]


def test_the_retracted_article_is_marked_in_list_and_text(references):
    entry = next(entry for entry in references.values() if entry.fields["doi"] == PAPER[8])
    assert "RETRACTED ARTICLE" in entry.fields["title"]
    assert "RETRACTED" in entry.fields["note"]
    page = text_of(BOOK / "bibliography.md")
    warning = re.search(r":::\{warning\}(.*?):::", page, re.DOTALL)
    assert warning and "**retracted article**" in warning[1] and f"`{entry.key}`" in warning[1]


@pytest.mark.parametrize("path", PAGES + NOTEBOOKS, ids=lambda path: path.name)
def test_citations_have_an_entry(references, path):
    assert keys_cited(path) <= set(references)


def keys_cited(path):
    """Keys of the works that a page or notebook cites."""
    cited = re.findall(r"\{cite(?::\w+)?\}`([^`]+)`", text_of(path))
    return {key.strip() for group in cited for key in group.split(",")}


def test_every_entry_is_cited(references):
    """The twelve of the paper are what the paper cites; each of the others has to serve a sentence of the book."""
    ours = {key for key, entry in references.items() if entry.fields["keywords"] == "book"}
    assert ours - set().union(*map(keys_cited, [*PAGES, *NOTEBOOKS])) == set()


NEEDED = {
    "article": ("journal", "volume", "pages"),
    "inproceedings": ("booktitle", "pages"),
    "incollection": ("booktitle", "publisher", "volume", "pages"),
    "book": ("publisher",),
    "misc": ("howpublished",),
}


def test_every_entry_is_complete_for_its_type(references):
    for key, entry in references.items():
        assert entry.persons["author"] and entry.fields["title"] and entry.fields["year"], key
        needed = set(NEEDED[entry.type])
        if entry.fields.get("journal") == "arXiv preprint":  # has an address in place of volume and pages
            needed = {"doi"}
        if "number" in entry.fields:  # issues that are counted through, without volumes
            needed -= {"volume"}
        assert needed - set(entry.fields) == set(), key
