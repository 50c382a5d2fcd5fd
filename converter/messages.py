"""ONNX's messages, as a file has them: a class for each, made of a table of their fields.

A field is `number kind name`: `*` before the kind says that it is repeated, `#` that it also may become an
array, `?` that it is one of several of which one is set. `data` are bytes that may be left in the file;
messages nobody here looks into are `bytes`.
"""

from __future__ import annotations

from converter.wire import Field, Message

_ENTRIES = "*StringStringEntry"

FIELDS: dict[str, str] = {
    "Model": f"1 int64 ir_version, 2 string producer_name, 3 string producer_version, 4 string domain, "
    f"5 int64 model_version, 6 string doc_string, 7 Graph graph, 8 *OperatorSetId opset_import, "
    f"14 {_ENTRIES} metadata_props, 20 *TrainingInfo training_info, 25 *Function functions, "
    f"26 *bytes configuration",
    "Graph": f"1 *Node node, 2 string name, 5 *Tensor initializer, 10 string doc_string, "
    f"11 *ValueInfo input, 12 *ValueInfo output, 13 *ValueInfo value_info, "
    f"14 *TensorAnnotation quantization_annotation, 15 *SparseTensor sparse_initializer, "
    f"16 {_ENTRIES} metadata_props",
    "Node": f"1 *string input, 2 *string output, 3 string name, 4 string op_type, 5 *Attribute attribute, "
    f"6 string doc_string, 7 string domain, 8 string overload, 9 {_ENTRIES} metadata_props, "
    f"10 *bytes device_configurations",
    "Attribute": "1 string name, 2 float f, 3 int64 i, 4 bytes s, 5 Tensor t, 6 Graph g, 7 *float floats, "
    "8 *int64 ints, 9 *bytes strings, 10 *Tensor tensors, 11 *Graph graphs, 13 string doc_string, "
    "14 Type tp, 15 *Type type_protos, 20 enum15 type, 21 string ref_attr_name, "
    "22 SparseTensor sparse_tensor, 23 *SparseTensor sparse_tensors",
    "Tensor": f"1 *int64 dims, 2 int32 data_type, 3 bytes segment, 4 #float float_data, 5 #int32 int32_data, "
    f"6 *bytes string_data, 7 #int64 int64_data, 8 string name, 9 data raw_data, 10 #double double_data, "
    f"11 #uint64 uint64_data, 12 string doc_string, 13 {_ENTRIES} external_data, 14 enum2 data_location, "
    f"16 {_ENTRIES} metadata_props",
    "SparseTensor": "1 Tensor values, 2 Tensor indices, 3 *int64 dims",
    "ValueInfo": f"1 string name, 2 Type type, 3 string doc_string, 4 {_ENTRIES} metadata_props",
    "Type": "1 ?TensorType tensor_type, 4 ?Sequence sequence_type, 5 ?Map map_type, 6 string denotation, "
    "7 ?Opaque opaque_type, 8 ?TensorType sparse_tensor_type, 9 ?Sequence optional_type",
    "TensorType": "1 int32 elem_type, 2 TensorShape shape",
    "TensorShape": "1 *Dimension dim",
    "Dimension": "1 ?int64 dim_value, 2 ?string dim_param, 3 string denotation",
    "Sequence": "1 Type elem_type",
    "Map": "1 int32 key_type, 2 Type value_type",
    "Opaque": "1 string domain, 2 string name",
    "Function": f"1 string name, 4 *string input, 5 *string output, 6 *string attribute, 7 *Node node, "
    f"8 string doc_string, 9 *OperatorSetId opset_import, 10 string domain, 11 *Attribute attribute_proto, "
    f"12 *ValueInfo value_info, 13 string overload, 14 {_ENTRIES} metadata_props",
    "TrainingInfo": f"1 Graph initialization, 2 Graph algorithm, 3 {_ENTRIES} initialization_binding, "
    f"4 {_ENTRIES} update_binding",
    "OperatorSetId": "1 string domain, 2 int64 version",
    "StringStringEntry": "1 string key, 2 string value",
    "TensorAnnotation": f"1 string tensor_name, 2 {_ENTRIES} quant_parameter_tensor_names",
}


def _classes() -> dict[str, type[Message]]:
    made: dict[str, type[Message]] = {name: type(name, (Message,), {}) for name in FIELDS}
    for name, text in FIELDS.items():
        fields = {}
        for entry in text.split(", "):
            number, kind, field = entry.split()
            bare = kind.lstrip("*#?")
            mark = kind[: len(kind) - len(bare)]
            fields[int(number)] = Field(
                field, bare, made.get(bare), mark in ("*", "#"), mark == "?", mark == "#"
            )
        made[name].define(fields)
    return made


Model = _classes()["Model"]
