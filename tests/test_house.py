"""The plan of the house, kept: who may import whom and where, what the public namespace shows, how long files are."""

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

import paraflow
import paraflow.ops
from paraflow.graph.node import records

ROOT = Path(__file__).parent.parent
MAX_LINES = 600

# Part -> the parts that it may import; `paraflow.errors` stands below all of them.
GRAPH = {"graph"}
OPS = {*GRAPH, "ops"}
AUTODIFF = {*OPS, "autodiff"}
CONTROL = {*AUTODIFF, "control"}
KERNELS = {*OPS, "native", "kernels"}
COMPILER = {*KERNELS, "compiler"}
RUNTIME = {*COMPILER, "comm", "runtime"}
PARALLEL = {*RUNTIME, "parallel"}
NAMESPACES = (
    "vocabulary", "bitwise", "debugging", "dtypes", "graph_util", "linalg", "manip", "math", "random", "signal",
    "sparse",
)  # fmt: skip
MAY_IMPORT = {
    "errors": set(),
    "absent": set(),
    "native": set(),
    "graph": GRAPH,
    "ops": OPS,
    "autodiff": AUTODIFF,
    "control": CONTROL,
    "nest": CONTROL,
    "compat": GRAPH,
    "switches": set(),
    "flags": set(),
    "app": {"flags"},
    "gfile": set(),
    "logging": OPS,
    "nn": {*CONTROL, "nn"},
    "metrics": {*CONTROL, "nn", "metrics"},
    "train": {*CONTROL, "train"},
    "sysconfig": {"native"},
    "kernels": KERNELS,
    "compiler": COMPILER,
    "comm": {"native", "comm"},
    "runtime": RUNTIME,
    "parallel": PARALLEL,
    "testing": {*PARALLEL, "autodiff", "testing"},
    "monitored": {*PARALLEL, *CONTROL, "train", "summary", "logging", "monitored"},
    "data": {"absent", "data"},
    "summary": {*OPS, "comm", "summary"},
    "experiment": {*PARALLEL, *AUTODIFF, "nn", "train", "data", "summary", "experiment"},
    "simulate": {*PARALLEL, *AUTODIFF, "nn", "train", "data", "experiment", "simulate"},
    "show": {*PARALLEL, *AUTODIFF, "nn", "train", "data", "experiment", "simulate", "show"},
    **dict.fromkeys(NAMESPACES, OPS),
    "__init__": {
        *PARALLEL, *CONTROL, "nn", "metrics", "train", "data", "summary", "sysconfig", "testing", *NAMESPACES,
        "nest", "compat", "switches", "flags", "app", "gfile", "logging",
    },
}
# File -> a part above its own whose names it has as well, loaded when they are first used.
SHOWS = {"paraflow/train/__init__.py": "monitored"}
# What a part may import beyond the standard library and numpy.
PACKAGES = {
    "flags": {"absl"},
    "graph": {"ml_dtypes"},
    "comm": {"mpi4py"},
    "experiment": {"pydantic", "pydantic_core", "rich", "safetensors", "matplotlib"},
    "simulate": {"matplotlib"},
    "summary": {"tensorboard", "PIL"},
    "train": {"safetensors"},
    "launch": {"rich"},
}
# (file, function) -> why this one import has to wait.
IMPORTED_LATER = {
    ("paraflow/__init__.py", "__getattr__"): "building a graph does without half of paraflow, see tests/test_import.py",
    ("paraflow/train/__init__.py", "__getattr__"): "threads and sessions of its own are for few programs",
    ("paraflow/graph/dtypes.py", "_bfloat16"): "a program without bfloat16 starts sooner by 5 ms",
    ("paraflow/graph/dtypes.py", "limits"): "a program without bfloat16 starts sooner by 5 ms",
    ("paraflow/comm/environment.py", "world"): "mpi4py starts MPI when it is imported, and a single process needs none",
    ("paraflow/experiment/journal.py", "_draw"): "matplotlib need not be there, and takes a second",
    ("paraflow/train/checkpoint_files.py", "_safetensors"): "a script that keeps no checkpoint starts sooner by 20 ms",
    ("paraflow/summary/writer.py", "__init__"): "tensorboard is of an extra, and takes half a second",
    ("paraflow/experiment/pictures.py", "drawing"): "matplotlib need not be there, and takes a second",
    ("paraflow/experiment/gloo.py", "_load"): "torch need not be there, and is only a peer to measure",
    ("launch/cli.py", "main"): "the launcher starts in milliseconds, and the version waits",
    ("launch/cli.py", "_run_here"): "the launcher starts in milliseconds, and what a rank needs waits",
    ("launch/rank.py", "_dispatch"): "only a rank needs the numerics",
}
# Modules of the standard library and numpy need no mention.
STANDARD = {*sys.stdlib_module_names, "numpy"}

FILES = sorted(path for top in ("paraflow", "launch") for path in (ROOT / top).rglob("*.py"))


def part_of(path):
    """The part of the house that a file belongs to."""
    inside = path.relative_to(ROOT)
    return "launch" if inside.parts[0] == "launch" else inside.parts[1].removesuffix(".py")


def imports(tree):
    """(dotted name, node) of everything that a module imports from outside its own folder."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level != 1:
            assert not node.level, "an import that climbs out of its folder hides where a name comes from"
            yield from ((f"{node.module}.{alias.name}", node) for alias in node.names)


def called_imports(tree):
    """(function, call) for imports that are made by calling something."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for node in ast.walk(function):
                imports_here = isinstance(node, ast.Import | ast.ImportFrom)
                calls = isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__"))
                if imports_here or calls:
                    yield function.name, node


def of_each_file(test):
    return pytest.mark.parametrize("path", FILES, ids=[str(p.relative_to(ROOT)) for p in FILES])(test)


def test_every_package_is_installed():
    """An editable installation would not miss one."""
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    found = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "paraflow").rglob("__init__.py")}
    assert listed == found | {"paraflow_launch"}


def test_every_part_has_its_place_in_the_order():
    assert {part_of(path) for path in FILES} - {"launch"} <= set(MAY_IMPORT)


@of_each_file
def test_nothing_is_imported_upward(path):
    part = part_of(path)
    for name, node in imports(ast.parse(path.read_text())):
        top, _, rest = name.partition(".")
        where = f"{path.relative_to(ROOT)}:{node.lineno} imports {name}"
        if top == "paraflow":
            assert part != "launch", f"{where}: the launcher knows nothing of paraflow"
            shown = SHOWS.get(str(path.relative_to(ROOT)))
            may = {"errors", shown, *MAY_IMPORT[part]}
            assert rest.partition(".")[0] in may, f"{where}: that stands above {part}"
        elif top == "paraflow_launch":
            assert part == "launch", f"{where}: only the launcher knows itself"
        else:
            assert top in STANDARD | PACKAGES.get(part, set()), f"{where}: {part} does without it"


@of_each_file
def test_no_import_hides_in_a_function(path):
    for function, node in called_imports(ast.parse(path.read_text())):
        place = str(path.relative_to(ROOT)), function
        assert place in IMPORTED_LATER, f"{place[0]}:{node.lineno}: an import inside {function}()"


def test_the_exceptions_are_still_needed():
    found = {
        (str(path.relative_to(ROOT)), function)
        for path in FILES
        for function, _ in called_imports(ast.parse(path.read_text()))
    }
    assert set(IMPORTED_LATER) <= found


def test_mpi4py_is_imported_where_there_are_several_ranks_only():
    """By what `paraflow.comm.world` imports then, and by nothing else."""
    users = {
        str(path.relative_to(ROOT))
        for path in FILES
        if any(name.partition(".")[0] == "mpi4py" for name, _ in imports(ast.parse(path.read_text())))
    }
    assert users <= {f"paraflow/comm/{name}.py" for name in ("mpi", "mpi_requests", "departures", "last_words")}
    program = "import paraflow, sys; print('mpi4py' in sys.modules)"
    solo = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert solo.stdout.strip() == b"False"


def test_the_public_namespace_is_what_all_says():
    assert [name for name in dir(paraflow) if not name.startswith("_")] == sorted(paraflow.__all__)
    assert len(set(paraflow.__all__)) == len(paraflow.__all__)


@pytest.mark.parametrize("name", paraflow.__all__)
def test_every_public_name_is_documented(name):
    thing = getattr(paraflow, name)
    assert thing is None or isinstance(thing, np.dtype) or inspect.getdoc(thing), f"paraflow.{name} has no docstring"


@pytest.mark.parametrize("name", [name for name in paraflow.__all__ if inspect.ismodule(getattr(paraflow, name))])
def test_public_modules_document_what_they_offer(name):
    module = getattr(paraflow, name)
    for public in getattr(module, "__all__", [n for n in vars(module) if not n.startswith("_")]):
        thing = getattr(module, public)
        if inspect.isfunction(thing) or inspect.isclass(thing):
            assert inspect.getdoc(thing), f"paraflow.{name}.{public} has no docstring"


def test_every_op_is_documented():
    for module in pkgutil.iter_modules(paraflow.ops.__path__):
        importlib.import_module(f"paraflow.ops.{module.name}")
    assert [name for name, record in records.items() if not (record.__doc__ or "").strip()] == []


def test_no_file_is_too_long():
    paths = [path for top in ("paraflow", "launch", "tests", "examples") for path in (ROOT / top).rglob("*.py")]
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in paths}
    assert {path: lines for path, lines in lengths.items() if lines >= MAX_LINES} == {}
