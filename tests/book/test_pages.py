"""The rendered book: strict, without network, with alternative text, with links that lead somewhere."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import build
import pytest
import yaml

# attributes that make a browser fetch something by itself; <a href> waits for a click
FETCHED = {
    "script": ("src",),
    "img": ("src", "srcset"),
    "link": ("href",),
    "iframe": ("src",),
    "source": ("src", "srcset"),
    "video": ("src", "poster"),
    "audio": ("src",),
    "embed": ("src",),
    "object": ("data",),
}


class Page(HTMLParser):
    """What a page fetches, shows and links to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.fetched: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.scripts: list[str] = []
        self.text: list[str] = []
        self.has_math = False
        self._inside = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self._inside = tag
        self.fetched += [values[name] or "" for name in FETCHED.get(tag, ()) if values.get(name)]
        self.ids |= {value for name, value in attrs if name in ("id", "name") and value}
        self.has_math |= "math" in (values.get("class") or "").split()
        if tag == "img":
            self.images.append(values)
        if tag == "a" and values.get("href"):
            self.links.append(values["href"] or "")

    def handle_data(self, data: str) -> None:
        if self._inside in ("script", "style"):
            self.scripts.append(data)
        else:
            self.text.append(data)

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def target(self, address: str) -> Path:
        """The file that a relative address leads to."""
        name = unquote(urlsplit(address).path)
        return (self.path.parent / name).resolve() if name else self.path


@pytest.fixture(scope="session")
def html(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The strict build of the book from the outputs that the committed notebooks carry."""
    return build.render(root, tmp_path_factory.mktemp("pages"), copies=None).parent


@pytest.fixture(scope="session")
def pages(html: Path) -> list[Page]:
    """All pages but those that Sphinx makes for the machinery."""
    found = [path for path in sorted(html.rglob("*.html")) if "_static" not in path.parts]
    return [Page(path) for path in found]


def chapters(toc: dict) -> Iterator[str]:
    """All files of a table of contents."""
    yield toc["root"]
    for part in toc.get("parts", [toc]):
        yield from (entry["file"] for entry in part["chapters"])


def test_every_chapter_and_every_notebook_has_a_page(html: Path, root: Path) -> None:
    listed = list(chapters(yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))))
    assert [name for name in listed if not (html / f"{name}.html").is_file()] == []
    assert {f"notebooks/{path.stem}" for path in (root / "notebooks").glob("*.ipynb")} <= set(listed)
    assert (html / "index.html").is_file()


def test_pages_fetch_nothing_from_elsewhere(pages: list[Page], html: Path) -> None:
    for page in pages:
        for address in page.fetched:
            if address.startswith("data:"):
                continue
            assert not urlsplit(address).netloc, f"{page.path.name} fetches {address}"
            assert page.target(address).exists(), f"{page.path.name}: {address} is missing"
        outside = [text for script in page.scripts for text in re.findall(r"https?://[^\s\"']+", script)]
        assert outside == [], page.path.name
    for style in html.rglob("*.css"):
        text = style.read_text(encoding="utf-8", errors="replace")
        assert not re.findall(r"(?:url\(|@import)\s*[\"']?(?:https?:)?//[^)]*", text), style.name


def test_equations_are_rendered_by_a_script_of_the_book(pages: list[Page]) -> None:
    with_math = [page for page in pages if page.has_math]
    assert with_math
    for page in with_math:
        scripts = [address for address in page.fetched if "tex-svg.js" in address]
        assert len(scripts) == 1, page.path.name
        assert page.target(scripts[0]).stat().st_size > 1_000_000


def test_every_image_has_words(pages: list[Page]) -> None:
    for page in pages:
        for image in page.images:
            alt, source = image.get("alt") or "", image.get("src") or ""
            assert alt.strip(), f"{page.path.name}: {source} has no alternative text"
            assert Path(source).name not in alt, f"{page.path.name}: {source} has its address as text"


def test_links_inside_the_book_lead_somewhere(pages: list[Page]) -> None:
    ids = {page.path.resolve(): page.ids for page in pages}
    for page in pages:
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = page.target(link)
            assert target.exists(), f"{page.path.name}: {link}"
            if parts.fragment and target in ids:
                assert unquote(parts.fragment) in ids[target], f"{page.path.name}: {link}"


def test_no_page_shows_a_role_or_a_key_in_place_of_its_value(html: Path) -> None:
    for path in html.rglob("*.html"):
        assert "{glue" not in path.read_text(encoding="utf-8"), path.name


TABLE_AS_TYPED = re.compile(r"\|\s*(?::?-{3,}:?|—)\s*\|")  # Sphinx may make one dash of three hyphens


def test_no_page_shows_a_table_as_it_was_typed(pages: list[Page]) -> None:
    for page in pages:
        assert not TABLE_AS_TYPED.search("".join(page.text)), page.path.name


def test_a_table_as_it_was_typed_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    typed, dashes = "| a | b |\n| --- | --- |", "| a | b |\n| \N{EM DASH} | \N{EM DASH} |"
    for text, shown in ((typed, True), (dashes, True), ("<table><td>a | b ---</td></table>", False)):
        page.write_text(text, encoding="utf-8")
        assert bool(TABLE_AS_TYPED.search("".join(Page(page).text))) is shown
