"""The rooms of vdslib: imports follow their order, and go through their faces; TensorFlow stays where it is needed."""

import ast
import importlib
import re

import pytest

import vdslib
from vdslib import files

ROOMS = re.findall(r"^- ``(\w+)``: ", vdslib.__doc__, re.MULTILINE)
FOLDER = files.root() / "vdslib"
SOURCES = {
    ".".join(path.relative_to(FOLDER).with_suffix("").parts).removesuffix(".__init__"): path
    for path in FOLDER.rglob("*.py")
    if path.parent != FOLDER or path.stem != "__init__"
}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in SOURCES.items()}


def imports(tree):
    """Pairs of a module of vdslib and a name that a file imports from it, anywhere in the file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "vdslib":
            assert node.level == 0
            yield from ((node.module.removeprefix("vdslib").removeprefix("."), a.name) for a in node.names)


def room(module, name=""):
    return (module or name).split(".")[0]


def test_the_maps_name_every_room_in_order():
    private = {name for name in SOURCES if name.startswith("_")}
    assert set(ROOMS) == {room(name) for name in SOURCES} - private
    readme = (files.root() / "README.md").read_text(encoding="utf-8").partition("### The rooms of vdslib")[2]
    named = [
        name
        for line in re.findall(r"^\| (`.*?) \|", readme, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", line)
    ]
    assert [name for name in named if name not in ("control", "serving")] == ROOMS


@pytest.mark.parametrize("module", SOURCES)
def test_a_room_imports_only_from_rooms_above_it(module):
    above = [*ROOMS[: ROOMS.index(room(module)) + 1]] if room(module) in ROOMS else []
    wrong = [
        pair
        for pair in imports(TREES[module])
        if room(*pair) not in above and not room(*pair).startswith("_")
    ]
    assert wrong == []


def outside():
    """Who imports from outside a room: other rooms, tests, tools and chapters, as (name, tree)."""
    yield from TREES.items()
    for folder in ("tests", "book/tools"):
        for path in (files.root() / folder).rglob("*.py"):
            yield path.relative_to(files.root()).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def test_a_room_is_entered_by_its_face():
    """What is imported from another room is named in its face: a name, or a module that the face lists."""
    offered = {name: importlib.import_module(f"vdslib.{name}").__all__ for name in ROOMS}
    wrong = []
    for who, tree in outside():
        for module, name in imports(tree):
            inside = room(module, name)
            # tests of a room, in the folder of its name, may look inside
            if inside in (room(who), *who.split("/")[1:2]) or not module or inside not in ROOMS:
                continue
            within = module.split(".")[1:]
            if (within or [name])[0] not in offered[inside]:
                wrong.append(f"{who}: from vdslib.{module} import {name}")
    assert wrong == []


@pytest.mark.parametrize("module", [name for name in SOURCES if not name.split(".")[-1].startswith("_")])
def test_public_names_are_explained(module):
    tree = TREES[module]
    assert ast.get_docstring(tree)
    kinds = (ast.FunctionDef, ast.ClassDef)
    public = [node for node in tree.body if isinstance(node, kinds) and not node.name.startswith("_")]
    assert [node.name for node in public if not ast.get_docstring(node)] == []


@pytest.mark.parametrize("name", ROOMS)
def test_a_face_is_short_and_without_logic(name):
    path = SOURCES[name]
    if path.name == "__init__.py":
        kinds = {type(node) for node in TREES[name].body}
        assert kinds <= {ast.Expr, ast.ImportFrom, ast.Assign}
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 30


def test_tensorflow_is_imported_in_networks_alone():
    users = {
        name
        for name, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for imported in ([node.module] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names])
        if imported.split(".")[0] in ("tensorflow", "keras")
    }
    # a process of its own, in which devices are divided before TensorFlow starts
    assert {room(name) for name in users - {"chapters.mirrored"}} == {"networks"}
