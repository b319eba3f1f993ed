"""Fixtures for every folder of tests, and the tests that need several hosts.

These are the files test_*hosts.py. Where this machine cannot hold hosts they are not collected, and the head of the
output says so; with PARAFLOW_TEST_HOSTS=required they are collected all the same, and fail.
"""

import os

# OpenBLAS reads it once, when numpy is imported, here and in processes that tests start. Its threads spin while they
# wait for each other, so that one process with several takes many times as long on a machine that is busy otherwise.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import pytest
from hosts import start_hosts, why_none

from paraflow.graph.graph import Graph

_WHY_NO_HOSTS = "" if os.environ.get("PARAFLOW_TEST_HOSTS") == "required" else why_none()
collect_ignore_glob = ["*hosts.py"] if _WHY_NO_HOSTS else []


def pytest_report_header():
    return f"no tests on several hosts: {_WHY_NO_HOSTS}" if _WHY_NO_HOSTS else None


@pytest.fixture
def graph():
    """A graph of the test's own, the default one while the test runs."""
    with Graph().as_default() as fresh:
        yield fresh


@pytest.fixture
def hosts():
    """Two hosts; see hosts.start_hosts."""
    with start_hosts(2) as two:
        yield two
