"""Options of a session under onnxruntime's names. All are accepted; few have anything to steer here."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from enum import IntEnum


class GraphOptimizationLevel(IntEnum):
    """How much the graph is rewritten: ORT_DISABLE_ALL turns the optimiser off, all others are alike."""

    ORT_DISABLE_ALL = 0
    ORT_ENABLE_BASIC = 1
    ORT_ENABLE_EXTENDED = 2
    ORT_ENABLE_LAYOUT = 3
    ORT_ENABLE_ALL = 99


class ExecutionMode(IntEnum):
    """Whether nodes may run side by side; kernels are parallel themselves, so it changes nothing."""

    ORT_SEQUENTIAL = 0
    ORT_PARALLEL = 1


class ExecutionOrder(IntEnum):
    """The order of nodes; the schedule has its own."""

    DEFAULT = 0
    PRIORITY_BASED = 1
    MEMORY_EFFICIENT = 2


@dataclass(slots=True)
class SessionOptions:
    """Options of a session.

    `intra_op_num_threads` (0: all physical cores), `graph_optimization_level`, `enable_profiling` with
    `profile_file_prefix`, and free dimension overrides are heeded; the others describe things this
    runtime does in one way.
    """

    enable_cpu_mem_arena: bool = True
    enable_mem_pattern: bool = True
    enable_mem_reuse: bool = True
    enable_profiling: bool = False
    execution_mode: ExecutionMode = ExecutionMode.ORT_SEQUENTIAL
    execution_order: ExecutionOrder = ExecutionOrder.DEFAULT
    graph_optimization_level: GraphOptimizationLevel = GraphOptimizationLevel.ORT_ENABLE_ALL
    inter_op_num_threads: int = 0
    intra_op_num_threads: int = 0
    log_severity_level: int = -1
    log_verbosity_level: int = 0
    logid: str = ""
    optimized_model_filepath: str = ""
    profile_file_prefix: str = "onnxruntime_profile_"
    use_deterministic_compute: bool = False
    use_per_session_threads: bool = True
    free_dimensions: dict[str, int] = field(default_factory=dict)
    config_entries: dict[str, str] = field(default_factory=dict)

    def add_session_config_entry(self, key: str, value: str) -> None:
        """Keep an entry; none has a meaning here."""
        self.config_entries[key] = value

    def get_session_config_entry(self, key: str) -> str:
        """An entry added before."""
        if key not in self.config_entries:
            raise RuntimeError(f"session options have no config entry {key!r}")
        return self.config_entries[key]

    def add_free_dimension_override_by_name(self, name: str, size: int) -> None:
        """Give a symbolic dimension of the inputs a fixed size."""
        self.free_dimensions[name] = size

    def warn_of_ignored(self) -> None:
        """Say which requests have no effect."""
        if self.optimized_model_filepath:
            warnings.warn("the optimized model is not written to a file", stacklevel=3)


@dataclass(slots=True)
class RunOptions:
    """Options of one run; none changes what is computed."""

    log_severity_level: int = -1
    log_verbosity_level: int = 0
    logid: str = ""
    only_execute_path_to_fetches: bool = False
    terminate: bool = False
    config_entries: dict[str, str] = field(default_factory=dict)

    def add_run_config_entry(self, key: str, value: str) -> None:
        """Keep an entry; none has a meaning here."""
        self.config_entries[key] = value

    def get_run_config_entry(self, key: str) -> str:
        """An entry added before."""
        if key not in self.config_entries:
            raise RuntimeError(f"run options have no config entry {key!r}")
        return self.config_entries[key]
