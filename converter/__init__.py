"""From a model file to a Graph: the only user of the onnx package besides the backend adapter.

Stages: `read` makes the definition of a model: of a .nrt file directly, of a file of RTen's through
`rten`, of an ONNX file through `source`, which finds it, `wire` and `messages`, which parse it, and
`from_onnx`; `contrib` and its rules replace operators that are not ONNX's own; `scope` and `graph` walk
its nodes in topological order, `upgrades` rewrite old forms to the current meaning, `functions` expand
what is defined by other operators, `attributes` and `tensors` check and decode what nodes carry.
"""

from converter.model import convert

__all__ = ["convert"]
