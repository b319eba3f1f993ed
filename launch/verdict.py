"""Which rank failed first, and what to say about it at the end of a launch."""

import os
import re
import signal
from typing import NamedTuple

from . import rank, results
from .results import Result

_LOG_LINES = 20
# Open MPI: "process rank 1 with PID 6268 on node vm exited on\nsignal 9 (Killed)",
# "Process name: [prterun-vm-6331@1,1]\n   Exit code:    3".
_OPEN_MPI_SIGNAL = re.compile(r"process rank (\d+) with PID \d+ on node \S+ exited\s+on\s+signal\s+(\d+)")
_OPEN_MPI_EXIT = re.compile(r"Process name:\s+\[.*,(\d+)\]\s+Exit code:\s+(\d+)")
# Hydra: "PID 6255 RUNNING AT vm" for a signal, and with -print-all-exitcodes "Exit codes: [vm] 0,768,0".
_HYDRA_PID = re.compile(r"PID (\d+) RUNNING AT")
_HYDRA_STATUSES = re.compile(r"\[\S+\] Exit codes:(?: \[\S+\] [\d,]+)+")
