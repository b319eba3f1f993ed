"""Fixtures for every folder of tests."""

import pytest

from paraflow.graph.graph import Graph


@pytest.fixture
def graph():
    """A graph of the test's own, the default one while the test runs."""
    with Graph().as_default() as fresh:
        yield fresh
