"""Writes small transformers with random weights as both exporters of torch do.

Needs torch and transformers: `python make.py DIRECTORY [NAME...]`. For each model: `script` and `sdpa` by
TorchScript, attention written out or as one function; `dynamo` and `dynamo23` by torch.export, opset 18
and 23. Those that fit are kept here.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers as tr
from strip import strip

Case = tuple[torch.nn.Module, tuple[torch.Tensor, ...], list[str], dict[str, dict[int, str]]]
LAYERS = {"num_hidden_layers": 2, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 24}


class Wrapped(torch.nn.Module):
    """A model whose inputs are given by position, and whose outputs are the tensors named."""

    def __init__(self, model: torch.nn.Module, names: list[str], **options: Any) -> None:
        super().__init__()
        self.model, self.names, self.options = model, names, options

    def forward(self, *args: torch.Tensor) -> torch.Tensor:
        made = self.model(**dict(zip(self.names, args, strict=True)), **self.options, return_dict=True)
        return made.logits if hasattr(made, "logits") else made.last_hidden_state


class Cached(torch.nn.Module):
    """A decoder step: token, mask and the cache of one layer after the other."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: torch.Tensor, mask: torch.Tensor, *past: torch.Tensor) -> Any:
        pairs = [(past[i], past[i + 1]) for i in range(0, len(past), 2)]
        cache = tr.DynamicCache(pairs)
        made = self.model(input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=True)
        new = [x for layer in made.past_key_values.layers for x in (layer.keys, layer.values)]
        return (made.logits, *new)


def ids(*shape: int) -> torch.Tensor:
    return torch.randint(0, 30, shape)


TOKENS = {0: "batch", 1: "seq"}


def bert(implementation: str) -> Case:
    config = tr.BertConfig(
        vocab_size=30, max_position_embeddings=32, attn_implementation=implementation, **LAYERS
    )
    model = Wrapped(tr.BertModel(config, add_pooling_layer=False), ["input_ids", "attention_mask"])
    return (
        model,
        (ids(2, 7), torch.ones(2, 7, dtype=torch.int64)),
        ["ids", "mask"],
        {"ids": TOKENS, "mask": TOKENS},
    )


def gpt2(implementation: str) -> Case:
    config = tr.GPT2Config(
        vocab_size=30, n_positions=32, n_embd=16, n_layer=2, n_head=2, attn_implementation=implementation
    )
    model = Wrapped(tr.GPT2LMHeadModel(config), ["input_ids"], use_cache=False)
    return model, (ids(2, 7),), ["ids"], {"ids": TOKENS}


def gpt2_step(implementation: str) -> Case:
    config = tr.GPT2Config(
        vocab_size=30, n_positions=32, n_embd=16, n_layer=2, n_head=2, attn_implementation=implementation
    )
    return step(tr.GPT2LMHeadModel(config), 2, 8)


def step(model: torch.nn.Module, heads: int, size: int) -> Case:
    past = tuple(torch.randn(2, heads, 5, size) for _ in range(4))
    names = ["ids", "mask", *(f"past{i}" for i in range(4))]
    axes = {
        "ids": TOKENS,
        "mask": {0: "batch", 1: "total"},
        **{f"past{i}": {0: "batch", 2: "past"} for i in range(4)},
    }
    return Cached(model), (ids(2, 3), torch.ones(2, 8, dtype=torch.int64), *past), names, axes


def vit(implementation: str) -> Case:
    config = tr.ViTConfig(image_size=12, patch_size=4, attn_implementation=implementation, **LAYERS)
    model = Wrapped(tr.ViTModel(config, add_pooling_layer=False), ["pixel_values"])
    return model, (torch.randn(2, 3, 12, 12),), ["pixels"], {"pixels": {0: "batch"}}


def whisper_config(implementation: str) -> Any:
    return tr.WhisperConfig(
        vocab_size=30, num_mel_bins=4, d_model=16, encoder_layers=2, decoder_layers=2,
        encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=24, decoder_ffn_dim=24,
        max_source_positions=10,
        max_target_positions=16, pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
        attn_implementation=implementation,
    )  # fmt: skip


def whisper_encoder(implementation: str) -> Case:
    model = tr.WhisperModel(whisper_config(implementation)).encoder
    return Wrapped(model, ["input_features"]), (torch.randn(2, 4, 20),), ["mel"], {"mel": {0: "batch"}}


def whisper_decoder(implementation: str) -> Case:
    model = tr.WhisperModel(whisper_config(implementation)).decoder
    names = ["input_ids", "encoder_hidden_states"]
    axes = {"ids": TOKENS, "states": {0: "batch", 1: "frames"}}
    return (
        Wrapped(model, names, use_cache=False),
        (ids(2, 5), torch.randn(2, 10, 16)),
        ["ids", "states"],
        axes,
    )


def t5(implementation: str) -> Case:
    config = tr.T5Config(
        vocab_size=30,
        d_model=16,
        d_kv=8,
        d_ff=24,
        num_layers=2,
        num_heads=2,
        attn_implementation=implementation,
    )
    model = Wrapped(tr.T5EncoderModel(config), ["input_ids", "attention_mask"])
    return (
        model,
        (ids(2, 7), torch.ones(2, 7, dtype=torch.int64)),
        ["ids", "mask"],
        {"ids": TOKENS, "mask": TOKENS},
    )


class Decoder(torch.nn.Module):
    """A T5 decoder with its head, for states of the encoder."""

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.model = tr.T5ForConditionalGeneration(config)

    def forward(self, ids: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        made = self.model.decoder(input_ids=ids, encoder_hidden_states=states, use_cache=False)
        return self.model.lm_head(made.last_hidden_state)


def t5_decoder(implementation: str) -> Case:
    config = tr.T5Config(
        vocab_size=30, d_model=16, d_kv=8, d_ff=24, num_layers=2, num_heads=2, decoder_start_token_id=0,
        attn_implementation=implementation,
    )  # fmt: skip
    axes = {"ids": TOKENS, "states": {0: "batch", 1: "frames"}}
    return Decoder(config), (ids(2, 5), torch.randn(2, 10, 16)), ["ids", "states"], axes


def masked(model: torch.nn.Module, **options: Any) -> Case:
    """A model of tokens and their mask."""
    tokens = (ids(2, 7), torch.ones(2, 7, dtype=torch.int64))
    wrapped = Wrapped(model, ["input_ids", "attention_mask"], **options)
    return wrapped, tokens, ["ids", "mask"], {"ids": TOKENS, "mask": TOKENS}


def bloom(implementation: str) -> Case:
    """Positions by a bias that is linear in them (ALiBi)."""
    config = tr.BloomConfig(vocab_size=30, hidden_size=16, n_layer=2, n_head=2)
    return masked(tr.BloomForCausalLM(config), use_cache=False)


def deberta(implementation: str) -> Case:
    """Scores of content and of positions, gathered and added."""
    config = tr.DebertaV2Config(
        vocab_size=30, relative_attention=True, pos_att_type=["p2c", "c2p"], position_buckets=4,
        share_att_key=True, norm_rel_ebd="layer_norm", max_position_embeddings=16, **LAYERS,
    )  # fmt: skip
    return masked(tr.DebertaV2Model(config))


def llama_model(implementation: str) -> torch.nn.Module:
    config = tr.LlamaConfig(
        vocab_size=30, max_position_embeddings=32, num_key_value_heads=2, attn_implementation=implementation,
        **(LAYERS | {"num_attention_heads": 4, "hidden_size": 32}),
    )  # fmt: skip
    return tr.LlamaForCausalLM(config)


def llama(implementation: str) -> Case:
    model = Wrapped(llama_model(implementation), ["input_ids", "attention_mask"], use_cache=False)
    return (
        model,
        (ids(2, 7), torch.ones(2, 7, dtype=torch.int64)),
        ["ids", "mask"],
        {"ids": TOKENS, "mask": TOKENS},
    )


def llama_step(implementation: str) -> Case:
    return step(llama_model(implementation), 2, 8)


def swin(implementation: str) -> Case:
    config = tr.SwinConfig(
        image_size=16, patch_size=2, embed_dim=8, depths=[2], num_heads=[2], window_size=4,
        attn_implementation=implementation,
    )  # fmt: skip
    model = Wrapped(tr.SwinModel(config, add_pooling_layer=False), ["pixel_values"])
    return model, (torch.randn(2, 3, 16, 16),), ["pixels"], {"pixels": {0: "batch"}}


CASES: dict[str, Callable[[str], Case]] = {
    f.__name__: f
    for f in (
        bert,
        gpt2,
        gpt2_step,
        vit,
        whisper_encoder,
        whisper_decoder,
        t5,
        t5_decoder,
        bloom,
        deberta,
        llama,
        llama_step,
        swin,
    )
}


def export(name: str, exporter: str, directory: Path) -> None:
    """One model by one exporter."""
    torch.manual_seed(0)
    model, args, names, axes = CASES[name]("eager" if exporter == "script" else "sdpa")
    path = directory / f"{name}_{exporter}.onnx"
    options: dict[str, Any]
    if exporter in ("script", "sdpa"):
        options = {"dynamo": False, "dynamic_axes": axes, "opset_version": 17}
    else:
        dims = {n: torch.export.Dim.DYNAMIC for named in axes.values() for n in named.values()}
        shapes = [{k: dims[d] for k, d in axes.get(n, {}).items()} for n in names]
        if not isinstance(model, Cached):
            given: dict[str, Any] = {"args": tuple(shapes)}
        else:
            given = {"ids": shapes[0], "mask": shapes[1], "past": tuple(shapes[2:])}
        options = {"dynamo": True, "dynamic_shapes": given, "opset_version": OPSETS[exporter]}
        options |= {"external_data": False, "verbose": False}
    torch.onnx.export(model.eval(), args, str(path), input_names=names, **options)
    strip(path)


OPSETS = {"dynamo": 18, "dynamo23": 23}

if __name__ == "__main__":
    warnings.simplefilter("ignore")
    for case in sys.argv[2:] or list(CASES):
        for exporter in ("script", "sdpa", *OPSETS):
            try:
                export(case, exporter, Path(sys.argv[1]))
            except Exception as error:  # some exporters cannot do some models
                sys.stderr.write(f"{case} {exporter}: {type(error).__name__}\n")
