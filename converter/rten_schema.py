"""What numbers mean in RTen's files: operators, their attributes, dtypes.

Attributes are listed in the order of their fields, under ONNX's names: `name:kind`, `name:kind=default`, or
`name:kind?` if it may be absent. Kinds are those of `struct` for numbers, I[] and i[] for vectors of them,
`bool`, `text`, `graph`, `dtype`, `scalar` and the enumerations below.
"""

from __future__ import annotations

import numpy as np

OPERATORS = (
    "Add", "ArgMin", "ArgMax", "AveragePool", "BatchNormalization", "Cast", "Clip", "Concat",
    "ConstantOfShape", "Conv", "ConvTranspose", "Cos", "CumSum", "Div", "Equal", "Erf", "Expand", "Flatten",
    "Gather", "Gemm", "GlobalAveragePool", "Greater", "GRU", "Identity", "LeakyRelu", "Less", "LessOrEqual",
    "Log", "LogSoftmax", "LSTM", "MatMul", "MaxPool", "Mod", "Mul", "Pad", "Pow", "Range", "ReduceMean",
    "ReduceL2", "Relu", "Reshape", "Resize", "Shape", "Sigmoid", "Sin", "Slice", "Split", "Sqrt", "Squeeze",
    "Softmax", "Sub", "Tanh", "Transpose", "Unsqueeze", "Where", "ReduceProd", "ReduceSum", "ReduceMin",
    "ReduceMax", "NonZero", "ScatterElements", "Tile", "Not", "Abs", "Max", "Mean", "Min", "Sum", "OneHot",
    "Round", "Floor", "Ceil", "Reciprocal", "TopK", "Neg", "Exp", "GreaterOrEqual", "Size", "Tan", "Acos",
    "Asin", "Atan", "InstanceNormalization", "HardSigmoid", "HardSwish", "And", "Or", "Xor", "Trilu",
    "ScatterND", "NonMaxSuppression", "Sign", "GatherElements", "LayerNormalization", "ReduceSumSquare",
    "RandomUniform", "Elu", "RandomUniformLike", "RandomNormal", "RandomNormalLike", "Softplus", "GatherND",
    "Gelu", "Einsum", "If", "DequantizeLinear", "QuantizeLinear", "DynamicQuantizeLinear", "MatMulInteger",
    "DepthToSpace", "ConvInteger", "CastLike", "Dropout", "EyeLike", "IsNaN", "IsInf", "Loop",
    "SequenceEmpty", "SequenceAt", "SequenceInsert", "ConcatFromSequence", "SplitToSequence",
    "SequenceLength", "SequenceConstruct", "SequenceErase", "GridSample", "PRelu", "STFT", "GlobalMaxPool",
    "ReduceL1", "Acosh", "Asinh", "Atanh", "Cosh", "Sinh", "Multinomial", "ReverseSequence", "DFT",
    "Scatter", "Upsample", "RotaryEmbedding", "Attention", "LpNormalization", "ReduceLogSum",
    "ReduceLogSumExp", "Softsign", "Mish", "ThresholdedRelu", "Celu", "Selu", "Shrink", "BitwiseNot",
)  # fmt: skip
ENUMS: dict[str, tuple[str, ...]] = {
    "approximation": ("none", "tanh"),
    "coordinates": ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"),
    "depth": ("DCR", "CRD"),
    "direction": ("forward", "reverse", "bidirectional"),
    "interpolation": ("nearest", "linear"),
    "padding": ("SAME_UPPER", "NOTSET"),
    "pad_mode": ("constant", "reflect", "edge", "wrap"),
    "reduction": ("none", "add", "mul", "min", "max"),
    "rounding": ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil"),
}

_POOL = "kernel_shape:I[] auto_pad:padding pads:I[] strides:I[]"

ATTRIBUTES: tuple[tuple[str, str], ...] = (
    ("ArgMax", "axis:i keepdims:bool"),
    ("AveragePool", f"{_POOL} count_include_pad:bool ceil_mode:bool"),
    ("BatchNormalization", "epsilon:f"),
    ("Cast", "to:dtype"),
    ("Concat", "axis:i"),
    ("ConstantOfShape", "value:scalar"),
    ("Conv", "auto_pad:padding pads:I[] group:I strides:I[] dilations:I[]"),
    (
        "ConvTranspose",
        "strides:I[] auto_pad:padding=1 pads:I[] group:I=1 output_padding:I[] dilations:I[]",
    ),
    ("Flatten", "axis:i"),
    ("Gather", "axis:i"),
    ("Gemm", "alpha:f beta:f transA:bool transB:bool"),
    ("GRU", "direction:direction hidden_size:I linear_before_reset:bool"),
    ("LeakyRelu", "alpha:f"),
    ("LSTM", "direction:direction hidden_size:I"),
    ("MaxPool", f"{_POOL} ceil_mode:bool"),
    ("ReduceMean", "axes:i[] keepdims:bool noop_with_empty_axes:bool"),
    ("Reshape", "allowzero:bool"),
    ("Resize", "mode:interpolation coordinate_transformation_mode:coordinates nearest_mode:rounding"),
    ("Split", "axis:i num_outputs:i?"),
    ("Softmax", "axis:i"),
    ("Transpose", "perm:I[]"),
    ("Mod", "fmod:bool"),
    ("ScatterElements", "axis:i reduction:reduction"),
    ("OneHot", "axis:i"),
    ("TopK", "axis:i largest:bool sorted:bool"),
    ("HardSigmoid", "alpha:f beta:f"),
    ("Trilu", "upper:bool"),
    ("ScatterND", "reduction:reduction"),
    ("NonMaxSuppression", "center_point_box:B"),
    ("LayerNormalization", "axis:i epsilon:f"),
    ("RandomUniform", "shape:I[] high:f low:f seed:f?"),
    ("Elu", "alpha:f"),
    ("RandomUniformLike", "high:f low:f seed:f?"),
    ("RandomNormal", "mean:f scale:f seed:f? shape:I[]"),
    ("RandomNormalLike", "mean:f scale:f seed:f?"),
    ("GatherND", "batch_dims:i"),
    ("Gelu", "approximate:approximation"),
    ("Einsum", "equation:text"),
    ("If", "then_branch:graph else_branch:graph"),
    ("Pad", "mode:pad_mode"),
    ("DequantizeLinear", "axis:i"),
    ("QuantizeLinear", "axis:i output_dtype:dtype?"),
    ("DepthToSpace", "mode:depth blocksize:I"),
    ("CastLike", ""),
    ("Shape", "start:i? end:i?"),
    ("Dropout", "seed:i?"),
    ("EyeLike", "dtype:dtype? k:i"),
    ("IsInf", ""),
    ("Loop", "body:graph"),
    ("SequenceEmpty", "dtype:dtype?"),
    ("ConcatFromSequence", "axis:i new_axis:bool"),
    ("SplitToSequence", "axis:i keepdims:bool=1"),
    ("GridSample", "align_corners:bool"),
    ("STFT", "onesided:bool=1"),
    ("Multinomial", "sample_size:i seed:f?"),
    ("ReverseSequence", "batch_axis:i=1 time_axis:i=0"),
    ("DFT", "inverse:bool onesided:bool"),
    ("Upsample", "mode:interpolation"),
    ("RotaryEmbedding", "interleaved:bool num_heads:I rotary_embedding_dim:I"),
    ("Attention", "is_causal:bool q_num_heads:I? kv_num_heads:I? scale:f? softcap:f"),
    ("CumSum", "exclusive:bool reverse:bool"),
    ("LpNormalization", "axis:i=-1 p:I=2"),
    ("Selu", "alpha:f=1.6732632 gamma:f=1.0507009"),
    ("Shrink", "bias:f lambd:f=0.5"),
)
"""In the order of the union's tags, from 1; each table serves the operators that share its attributes."""

DTYPES = tuple(np.dtype(t) for t in (np.int32, np.float32, np.int8, np.uint8))
"""Of values and attributes, and of constants that say theirs."""

INLINE_DTYPES = tuple(np.dtype(t) for t in (np.float32, np.int32, np.int8, np.uint8))
"""Of constants stored among the nodes, from 1."""

METADATA = (
    "onnx_hash", "description", "license", "commit", "code_repository", "model_repository", "run_id",
    "run_url",
)  # fmt: skip

# RTen knows neither int64 nor bool: its integers are int32. ONNX wants others in these places.

_REDUCTIONS = [name for name in OPERATORS if name.startswith("Reduce")]

INT64_INPUTS: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(_REDUCTIONS, (1,)),
    "Attention": (6,), "ConstantOfShape": (0,), "Expand": (1,), "GatherND": (1,), "Loop": (0,),
    "NonMaxSuppression": (2,), "Pad": (1, 3), "Reshape": (1,), "Resize": (3,), "ReverseSequence": (1,),
    "RotaryEmbedding": (3,), "ScatterND": (1,), "Split": (1,), "Squeeze": (1,), "Tile": (1,), "TopK": (1,),
    "Trilu": (1,), "Unsqueeze": (1,),
}  # fmt: skip

BOOL_INPUTS: dict[str, tuple[int, ...]] = {
    "And": (0, 1), "Dropout": (2,), "If": (0,), "Loop": (1,), "Not": (0,), "Or": (0, 1), "Where": (0,),
    "Xor": (0, 1),
}  # fmt: skip

TRUTHS = frozenset(
    ("And", "Dropout", "Equal", "Greater", "GreaterOrEqual", "IsInf", "IsNaN", "Less", "LessOrEqual", "Not",
     "Or", "Xor")
)  # fmt: skip
"""Operators that make truth values."""

NARROWED_OUTPUTS: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(TRUTHS, (0,)),
    **dict.fromkeys(("ArgMax", "ArgMin", "NonMaxSuppression", "NonZero"), (0,)),
    **dict.fromkeys(("SequenceLength", "Shape", "Size"), (0,)),
    "Dropout": (1,), "TopK": (1,),
}  # fmt: skip
"""Outputs that are int64 or bool in ONNX."""

INTEGER_INPUTS: dict[str, tuple[int, ...]] = {
    **INT64_INPUTS, **BOOL_INPUTS, "Gather": (1,), "GatherElements": (1,), "OneHot": (0, 1),
    "Scatter": (1,), "ScatterElements": (1,),
}  # fmt: skip
"""Inputs of a model that are int32 where an old file does not say their dtype."""
