"""From a graph to a sequence of kernel calls.

schedule  once per model: segments, order, which inputs decide shapes by their values
bind      once per set of input shapes: sizes, kernel calls, buffers, offsets → a Plan
execute   every run: the calls of a Plan on one arena (numba_rt.execute)
"""

from numba_rt.plan.bind import bind
from numba_rt.plan.plan import Plan
from numba_rt.plan.schedule import HostStep, Schedule, Segment, schedule

__all__ = ["HostStep", "Plan", "Schedule", "Segment", "bind", "schedule"]
