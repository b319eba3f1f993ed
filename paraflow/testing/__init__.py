"""For tests of operations of your own: the checks that paraflow's operations have to stand (`check_op`)."""

from paraflow.testing.case import Case, given, nonzero, normal, positive, uniform
from paraflow.testing.interpreter import interpret
from paraflow.testing.report import check_op

__all__ = ["Case", "check_op", "given", "interpret", "nonzero", "normal", "positive", "uniform"]
