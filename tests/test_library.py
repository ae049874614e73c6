"""The shape of vdslib: imports follow the data, TensorFlow comes only where it is needed, names are explained."""

import ast
import importlib

import generated_tables
import pytest

from vdslib import experiments

FILES = sorted((experiments.root() / "vdslib").rglob("*.py"))
MODULES = {
    ".".join(path.relative_to(experiments.root()).with_suffix("").parts).removesuffix(".__init__"): path
    for path in FILES
}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}


def place(module):
    """Position of a module in the order in which data pass through them; private ones come first."""
    top = module.split(".")[1] if "." in module else "_"
    return -1 if top.startswith("_") else generated_tables.MODULES.index(top)


def imported(module):
    """Modules of vdslib that one imports itself, anywhere in it, with the packages that they are in."""
    package = module if MODULES[module].name == "__init__.py" else module.rpartition(".")[0]
    names = set()
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            names |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    parents = {".".join(name.split(".")[:end]) for name in names & MODULES.keys() for end in range(1, 9)}
    return (names | parents) & MODULES.keys()


def closure(module):
    """A module with all of vdslib that it imports, directly or through others."""
    known, waiting = set(), {module}
    while waiting:
        known |= waiting
        waiting = set().union(*map(imported, waiting)) - known
    return known


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_from_those_before_it(module):
    needed = closure(module) - {module, "vdslib"}
    assert {other for other in needed if place(other) > place(module)} == set()


def test_tensorflow_is_loaded_only_by_what_trains_networks():
    names = {
        module
        for module, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        and {"tensorflow", "keras"}
        & {
            name.split(".")[0]
            for name in [getattr(node, "module", None) or "", *(a.name for a in node.names)]
        }
    }
    of_networks = {
        f"vdslib.{name}"
        for name in ("models", "stacked", "engine", "trainable", "training", "quantiles", "load_states")
    }
    assert names - of_networks == {"vdslib._tensorflow"}
    users = {module for module in MODULES if "vdslib._tensorflow" in closure(module)} - {"vdslib._tensorflow"}
    assert users == of_networks | {
        f"vdslib.{name}"
        for name in ("generalisation", "hyperparameters", "leaks", "planted_leaks", "same_rows")
    }  # which train some


@pytest.mark.parametrize("module", [name for name in MODULES if not name.split(".")[-1].startswith("_")])
def test_public_names_are_explained(module):
    assert ast.get_docstring(TREES[module])
    public = list(generated_tables.public_objects(TREES[module]))
    assert [node.name for node in public if not ast.get_docstring(node)] == []


@pytest.mark.parametrize(
    "tool", sorted(path.stem for path in (experiments.root() / "book/tools").glob("*.py"))
)
def test_every_tool_of_the_book_can_be_imported(tool):
    if tool == "bench_torch":
        pytest.importorskip("torch", reason="only the benchmark sets up an environment with PyTorch")
    importlib.import_module(tool)
