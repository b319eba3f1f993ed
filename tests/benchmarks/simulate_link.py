"""The wire between two hosts, as ranks on them measure it; started on both by simulate_check.py. Rank 0 prints JSON."""

import json
from dataclasses import asdict

from paraflow.comm import world
from paraflow.simulate.calibrate import measure_link

link = measure_link(world())
if world().rank == 0:
    assert link is not None, "all ranks are on one host"
    print(json.dumps(asdict(link)))
