"""The launcher: starts the ranks of a program under mpirun, supervises them and says how they ended.

It imports neither numpy nor anything of paraflow, so that it starts in milliseconds. Linux only: it relies on
/proc, on processor affinity and on ``prctl`` to leave no process behind.
"""
