"""What a model is: a Graph of Nodes over Values, and the Fact known about each value."""

from numba_rt.graph.dim import Dim, Sym, Undecided, dim_max, dim_min, fresh_dim, substitute
from numba_rt.graph.fact import Fact
from numba_rt.graph.graph import Graph, Node, Value

__all__ = [
    "Dim",
    "Fact",
    "Graph",
    "Node",
    "Sym",
    "Undecided",
    "Value",
    "dim_max",
    "dim_min",
    "fresh_dim",
    "substitute",
]
