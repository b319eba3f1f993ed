"""What `import paraflow` loads: the graph and its vocabulary; all else comes when it is first used."""

import ast
import importlib
import inspect
import json
import subprocess
import sys

import pytest

import paraflow


def python(program):
    """What a fresh interpreter prints for ``program``, from JSON."""
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def loaded():
    return set(python("import sys, json, paraflow; print(json.dumps(list(sys.modules)))"))


@pytest.mark.parametrize("part", ["comm", "compiler", "data", "experiment", "kernels", "metrics", "native", "parallel",
                                  "runtime", "show", "simulate", "summary", "sysconfig", "testing",
                                  "monitored"])  # fmt: skip
def test_a_part_that_graphs_do_without_is_not_loaded(loaded, part):
    assert [name for name in loaded if (name + ".").startswith(f"paraflow.{part}.")] == []


@pytest.mark.parametrize("package", ["absl", "google", "logging", "matplotlib", "ml_dtypes", "mpi4py", "pydantic",
                                     "rich", "safetensors", "tensorboard", "argparse", "numpy.random", "socket",
                                     "subprocess", "tempfile", "zipfile"])  # fmt: skip
def test_a_package_that_graphs_do_without_is_not_loaded(loaded, package):
    assert package not in loaded


def late_names():
    """Name -> the module that has it, as type checkers and editors read it from the source."""
    tree = ast.parse(inspect.getsource(paraflow))
    (block,) = (node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    return {
        alias.name: f"paraflow.{alias.name}" if node.module == "paraflow" else node.module
        for node in block.body
        for alias in node.names
    }


def test_editors_see_what_is_loaded_when_it_is_used():
    assert late_names() == paraflow._LATER
    program = "import json, paraflow; print(json.dumps([dir(paraflow), list(vars(paraflow))]))"
    listed, there = map(set, python(program))
    assert set(late_names()) <= listed - there


@pytest.mark.parametrize(("name", "module"), late_names().items())
def test_what_is_loaded_when_it_is_used_is_what_its_module_has(name, module):
    thing = importlib.import_module(module)
    assert getattr(paraflow, name) is (thing if inspect.ismodule(getattr(paraflow, name)) else getattr(thing, name))
    assert vars(paraflow)[name] is getattr(paraflow, name)


def test_a_star_import_has_every_name():
    program = "from paraflow import *; import json, paraflow; print(json.dumps([*{*paraflow.__all__} - {*vars()}]))"
    assert python(program) == []


def test_a_name_that_there_is_not_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'paraflow' has no attribute 'sesion'"):
        paraflow.sesion  # noqa: B018


def test_graphs_in_files_find_the_records_of_all_operations():
    """Those that come later are the compiler's, which no program's own graph has."""
    late = python(
        "import importlib, json, pkgutil, paraflow\n"
        "from paraflow.graph.node import records\n"
        "before = set(records)\n"
        "for module in pkgutil.walk_packages(paraflow.__path__, 'paraflow.'):\n"
        "    if not module.name.startswith(('paraflow.comm', 'paraflow.experiment', 'paraflow.simulate', "
        "'paraflow.show')):\n"
        "        importlib.import_module(module.name)\n"
        "print(json.dumps(sorted({record.body.__module__ for name, record in records.items() if name not in before})))"
    )
    assert late == ["paraflow.ops.update"]
