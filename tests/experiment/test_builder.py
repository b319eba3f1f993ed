"""Functions of the user's own, loaded from a file."""

import sys

import pytest

from paraflow.errors import ConfigError
from paraflow.experiment.builder import load_builder


def test_a_builder_may_use_modules_of_its_folder(tmp_path):
    (tmp_path / "beside_the_builder.py").write_text("WIDTH = 7\n")
    (tmp_path / "net.py").write_text(
        "import beside_the_builder\ndef build(n):\n    return n * beside_the_builder.WIDTH\n"
    )
    path_before = list(sys.path)
    assert load_builder(f"{tmp_path}/net.py:build")(3) == 21
    assert sys.path == path_before


def test_a_missing_function_is_named_with_a_similar_one(tmp_path):
    (tmp_path / "net.py").write_text("def build(): pass\nbuilt = 3\n")
    with pytest.raises(ConfigError, match=r"net.py has no function 'bild'; did you mean 'build'\?"):
        load_builder(f"{tmp_path}/net.py:bild")
    with pytest.raises(ConfigError, match="has no function 'built'"):
        load_builder(f"{tmp_path}/net.py:built")


def test_errors_of_the_file_itself_pass_through(tmp_path):
    (tmp_path / "net.py").write_text("1 / 0\n")
    with pytest.raises(ZeroDivisionError):
        load_builder(f"{tmp_path}/net.py:build")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match="there is no file"):
        load_builder(f"{tmp_path}/net.py:build")
