"""Where a picture is to go is looked at first, by rank 0 alone, and every rank hears of it."""

import os
import re
import stat

import pytest

from paraflow.comm import run_threads, solo
from paraflow.errors import ConfigError
from paraflow.experiment.pictures import check_picture


def fault(path, endings=(".svg", ".png")):
    with pytest.raises(ConfigError) as found:
        check_picture("--plot", path, endings, solo())
    return str(found.value)


def test_what_can_be_written_passes_and_nothing_is_left_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in (tmp_path / "a.svg", tmp_path / "b.PNG", (tmp_path / "c.svg").relative_to(tmp_path)):
        check_picture("--plot", path, [".svg", ".png"], solo())
    check_picture("-o", tmp_path / "any", [], solo())
    assert list(tmp_path.iterdir()) == []


def test_the_option_the_place_and_the_remedy_are_named(tmp_path):
    missing = tmp_path / "none" / "a.svg"
    assert fault(missing) == (
        f"--plot {missing}: there is no folder {tmp_path / 'none'}; make it, or name a file elsewhere"
    )
    other = tmp_path / "a.foo"
    assert fault(other) == f"--plot {other}: it draws SVG or PNG, so name a file .svg or .png"
    folder = tmp_path / "folder.svg"
    folder.mkdir()
    assert fault(folder) == f"--plot {folder}: that is a folder; name a file"
    assert "there is no folder" in fault(tmp_path / "a.foo" / "a.svg")


def test_a_place_that_takes_no_file(tmp_path, monkeypatch):
    """As the system would say to a user other than root."""
    locked = tmp_path / "locked"
    locked.mkdir()
    (locked / "a.svg").touch()
    monkeypatch.setattr(os, "access", lambda path, mode: bool(os.stat(path).st_mode & stat.S_IWUSR))
    (locked / "a.svg").chmod(0o400)
    assert fault(locked / "a.svg").endswith(f": {locked / 'a.svg'} cannot be written; name a file elsewhere")
    locked.chmod(0o500)
    assert fault(locked / "b.svg").endswith(f": {locked} cannot be written; name a file elsewhere")
    locked.chmod(0o700)


def test_only_rank_0_looks_and_all_ranks_raise(tmp_path):
    """Rank 1 gives a folder that is not there, as on another host."""

    def check(comm, by_rank):
        check_picture("--plot", by_rank[comm.rank], [".svg"], comm)

    here, away = tmp_path / "a.svg", tmp_path / "none" / "a.svg"
    run_threads(2, check, [here, away])

    def raised(comm):
        with pytest.raises(ConfigError, match=re.escape("there is no folder")) as found:
            check(comm, [away, here])
        return str(found.value).partition(": ")[2]

    first, second = run_threads(2, raised)
    assert first == second
