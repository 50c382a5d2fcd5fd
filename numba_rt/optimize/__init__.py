"""Rewrites of the graph, in order, each with its reason.

To add a fusion: a Rule in its family's file under `fusions/`, which exports its rules as a tuple;
one test that it fires and one that it does not. PIPELINE changes only when order matters.
"""

from __future__ import annotations

from collections.abc import Callable

from numba_rt.graph import Graph
from numba_rt.optimize.branches import take_known_branches
from numba_rt.optimize.chains import fuse_chains
from numba_rt.optimize.constants import fold_constants, lift_sizes, merge_common, remove_dead
from numba_rt.optimize.fusions.activation import ACTIVATIONS
from numba_rt.optimize.fusions.attention import ATTENTION
from numba_rt.optimize.fusions.caches import CACHES
from numba_rt.optimize.fusions.conv import CONV_WEIGHTS, CONVS, BatchNormToScale
from numba_rt.optimize.fusions.conv_inputs import CONV_INPUTS
from numba_rt.optimize.fusions.conv_transpose import CONV_TRANSPOSES
from numba_rt.optimize.fusions.depthwise_block import BLOCKS, PARTS_OF_BLOCKS
from numba_rt.optimize.fusions.halves import HALF_MOVES
from numba_rt.optimize.fusions.heads import HEADS_OF_SCORES
from numba_rt.optimize.fusions.matmul import MATMULS, PACKING
from numba_rt.optimize.fusions.norm import ADD_NORM, LAYER_NORM, RMS_NORM
from numba_rt.optimize.fusions.pixels import LayerNormOfChannels
from numba_rt.optimize.fusions.projections import share_projections
from numba_rt.optimize.fusions.quantize import QUANTIZATION
from numba_rt.optimize.fusions.rotary import ROTARY
from numba_rt.optimize.fusions.shuffle import SHUFFLES
from numba_rt.optimize.fusions.softmax import SOFTMAX
from numba_rt.optimize.half import widen_halves
from numba_rt.optimize.infer import infer_facts
from numba_rt.optimize.layout import LAYOUT
from numba_rt.optimize.report import Report
from numba_rt.optimize.rule import RuleSet
from numba_rt.optimize.simplify import LINEAR, NO_MOVES, SIMPLIFY

PIPELINE: tuple[Callable[[Graph, Report], None], ...] = (
    widen_halves,  # first: everything below then sees float32
    RuleSet(*HALF_MOVES),  # what moves a cache is then seen next to what reads it
    merge_common,  # before folding: what is the same is then computed, and kept, once
    fold_constants,  # before rules: many ask whether an operand is constant
    take_known_branches,  # when facts are best known; what follows then sees one graph
    lift_sizes,  # before rules: a value read only for its shape would count as read elsewhere
    merge_common,  # before rules: a pattern's variable is one value
    RuleSet(*SIMPLIFY),
    RuleSet(*LAYER_NORM, LayerNormOfChannels),  # before activations and products: they contain both
    RuleSet(*RMS_NORM),  # after LayerNorm, which contains it
    RuleSet(*ACTIVATIONS),
    RuleSet(*CONV_WEIGHTS),  # before BatchNormalization becomes arithmetic
    RuleSet(BatchNormToScale),
    RuleSet(*LINEAR),  # after constants had their chance to go into weights
    RuleSet(*CONV_INPUTS, *CONV_TRANSPOSES, *SHUFFLES),  # before layouts: weights are packed there
    RuleSet(*LAYOUT),  # before epilogues: a Transpose between would hide them
    RuleSet(*NO_MOVES),  # after layouts, which look for a Transpose
    merge_common,  # two convolutions of one image share its Transpose
    RuleSet(*HEADS_OF_SCORES, *NO_MOVES),  # before softmax and products: masks and heads meet four axes
    RuleSet(*SOFTMAX),  # before products: they would take the scale
    RuleSet(*MATMULS),
    RuleSet(*ATTENTION, *ROTARY),  # after products, which have taken up scales and transposes
    share_projections,  # after attention, which says what belongs together
    RuleSet(*CACHES),  # after what attention takes up of the nodes around it
    merge_common,  # what layers made of the mask they share
    RuleSet(*CONVS),
    RuleSet(*BLOCKS),  # after convolutions have taken up what follows them
    RuleSet(*PARTS_OF_BLOCKS),  # after whole blocks, which contain them
    RuleSet(*ADD_NORM),  # after products: a residual costs nothing in their store
    fold_constants,  # what the rules made of weights
    RuleSet(*QUANTIZATION),  # after rules that look for the operators themselves
    fuse_chains,  # after every rule that looks for a single elementwise operator
    RuleSet(*PACKING),  # last: packed weights are opaque to every rule
    remove_dead,
)

REQUIRED: tuple[Callable[[Graph, Report], None], ...] = (widen_halves,)
"""What the kernels need even when nothing is to be optimised."""


def optimize(graph: Graph, *, only_required: bool = False) -> Report:
    """Run the pipeline on a graph and its subgraphs, in place."""
    report = Report()
    _optimize(graph, report, REQUIRED if only_required else PIPELINE)
    return report


def _optimize(graph: Graph, report: Report, steps: tuple[Callable[[Graph, Report], None], ...]) -> None:
    for node in graph.nodes:
        for value in node.op.attributes().values():
            if isinstance(value, Graph):
                value.strict = graph.strict
                _optimize(value, report, tuple(s for s in steps if s is not lift_sizes))
    infer_facts(graph, report)
    for step in steps:
        step(graph, report)
    graph.forget_derived()
