"""Optimises models of this directory as optimum does, by ONNX Runtime's tool: `python make_ort.py DIRECTORY`.

Needs onnxruntime and sympy. Attention, normalisations and activations become com.microsoft's.
"""

from __future__ import annotations

import sys
from pathlib import Path

from onnxruntime.transformers import optimizer
from onnxruntime.transformers.fusion_options import FusionOptions
from strip import strip

CASES = {
    "bert_ort": ("bert_script", "bert", False),
    "bert_mha_ort": ("bert_script", "bert", True),
    "gpt2_step_ort": ("gpt2_step_script", "gpt2", False),
    "t5_ort": ("t5_script", "t5", False),
    "whisper_encoder_ort": ("whisper_encoder_script", "bart", False),
}
"""For each model its source, the kind the tool knows, and whether attention takes projected inputs."""

if __name__ == "__main__":
    for name, (source, kind, separate) in CASES.items():
        options = FusionOptions(kind)
        options.use_multi_head_attention = separate
        model = optimizer.optimize_model(
            str(Path(__file__).parent / f"{source}.onnx"), model_type=kind, num_heads=2, hidden_size=16,
            opt_level=0, optimization_options=options,
        )  # fmt: skip
        path = Path(sys.argv[1]) / f"{name}.onnx"
        model.save_model_to_file(str(path))
        strip(path)
