import os

from paraflow.data.sources import find_idx_directory
from paraflow.errors import DataError

collect_ignore = []
try:
    find_idx_directory("fashion_mnist")
except DataError:
    if os.environ.get("PARAFLOW_TEST_DATA") != "required":
        collect_ignore.append("test_fashion_mnist.py")
