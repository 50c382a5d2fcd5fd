"""Writes small transformers with random weights as tf2onnx converts them: `python make_tf.py DIRECTORY`.

Needs tensorflow and tf2onnx. The models are written the ways BERT, T5, GPT-2 and Keras write theirs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf2onnx
from strip import strip

HEADS, SIZE, LAYERS, VOCABULARY = 2, 8, 2, 30
WIDTH = HEADS * SIZE
keras = tf.keras.layers
Tensor = Any


def norm() -> Any:
    random = tf.keras.initializers.RandomUniform
    return keras.LayerNormalization(
        epsilon=1e-6, gamma_initializer=random(0.5, 1.5), beta_initializer=random(-0.5, 0.5)
    )


class Layer:
    """The parts of a layer."""

    def __init__(self) -> None:
        self.q, self.k, self.v, self.out = (keras.Dense(WIDTH) for _ in range(4))
        self.wide, self.narrow, self.qkv = keras.Dense(24), keras.Dense(WIDTH), keras.Dense(3 * WIDTH)
        self.first, self.second = norm(), norm()
        self.attention = keras.MultiHeadAttention(HEADS, SIZE)


TOKENS = tf.Variable(tf.random.stateless_normal((VOCABULARY, WIDTH), (1, 2)))
POSITIONS = tf.Variable(tf.random.stateless_normal((32, WIDTH), (3, 4)))
RELATIVE = tf.Variable(tf.random.stateless_normal((8, HEADS), (5, 6)))
PARTS: list[Layer] = []
"""The layers of the model being written."""


def split(x: Tensor, batch: Tensor) -> Tensor:
    return tf.transpose(tf.reshape(x, (batch, -1, HEADS, SIZE)), (0, 2, 1, 3))


def joined(x: Tensor, batch: Tensor) -> Tensor:
    return tf.reshape(tf.transpose(x, (0, 2, 1, 3)), (batch, -1, WIDTH))


def bert(ids: Tensor, mask: Tensor) -> Tensor:
    batch, n = tf.shape(ids)[0], tf.shape(ids)[1]
    x = tf.gather(TOKENS, ids) + POSITIONS[None, :n]
    hidden = (1.0 - tf.cast(tf.reshape(mask, (batch, 1, 1, n)), tf.float32)) * -10000.0
    for p in PARTS:
        q, k, v = (split(dense(x), batch) for dense in (p.q, p.k, p.v))
        scores = tf.matmul(q, k, transpose_b=True) / tf.math.sqrt(float(SIZE)) + hidden
        x = p.first(p.out(joined(tf.matmul(tf.nn.softmax(scores, axis=-1), v), batch)) + x)
        wide = p.wide(x)
        x = p.second(p.narrow(wide * 0.5 * (1.0 + tf.math.erf(wide / tf.sqrt(2.0)))) + x)
    return x


def bert_flat(ids: Tensor, mask: Tensor) -> Tensor:
    """Activations are matrices, as in the first BERT."""
    batch, n = tf.shape(ids)[0], tf.shape(ids)[1]
    x = tf.reshape(tf.gather(TOKENS, ids) + POSITIONS[None, :n], (-1, WIDTH))
    seen = tf.ones((batch, n, 1)) * tf.cast(tf.reshape(mask, (batch, 1, n)), tf.float32)
    hidden = (1.0 - seen[:, None]) * -10000.0
    for p in PARTS:
        q, k, v = (split(dense(x), batch) for dense in (p.q, p.k, p.v))
        scores = tf.matmul(q, k, transpose_b=True) * (1.0 / np.sqrt(SIZE)) + hidden
        made = tf.reshape(joined(tf.matmul(tf.nn.softmax(scores), v), batch), (-1, WIDTH))
        x = p.first(p.out(made) + x)
        wide = p.wide(x)
        gelu = wide * 0.5 * (1.0 + tf.tanh(np.sqrt(2 / np.pi) * (wide + 0.044715 * tf.pow(wide, 3))))
        x = p.second(p.narrow(gelu) + x)
    return tf.reshape(x, (batch, n, WIDTH))


def gpt2(ids: Tensor, past: Tensor) -> tuple[Tensor, ...]:
    """Keys and values of the past in one tensor; scores are multiplied with the mask."""
    batch, n, before = tf.shape(ids)[0], tf.shape(ids)[1], tf.shape(past)[4]
    x = tf.gather(TOKENS, ids) + tf.gather(POSITIONS, tf.range(before, before + n))[None]
    kept = []
    for i, p in enumerate(PARTS):
        q, k, v = (split(part, batch) for part in tf.split(p.qkv(p.first(x)), 3, axis=2))
        old = tf.unstack(past[i], axis=0, num=2)
        k, v = tf.concat([old[0], k], axis=-2), tf.concat([old[1], v], axis=-2)
        kept.append(tf.stack([k, v], axis=0))
        scores = tf.matmul(q, k, transpose_b=True) * tf.math.rsqrt(float(SIZE))
        rows, columns = tf.range(n)[:, None], tf.range(before + n)
        seen = tf.cast(rows >= columns - before, tf.float32)[None, None]
        made = tf.matmul(tf.nn.softmax(scores * seen - 1e4 * (1 - seen)), v)
        x = x + p.out(joined(made, batch))
        x = x + p.narrow(tf.nn.gelu(p.wide(p.second(x)), approximate=True))
    return (x, *kept)


def t5(ids: Tensor, mask: Tensor) -> Tensor:
    """No scale, a bias by relative position, Einsum."""
    batch, n = tf.shape(ids)[0], tf.shape(ids)[1]
    x, scale = tf.gather(TOKENS, ids), tf.ones((WIDTH,)) * 1.5
    relative = tf.range(n)[None] - tf.range(n)[:, None]
    bucket = tf.minimum(tf.abs(relative), 3) + tf.where(relative > 0, 4, 0)
    bias = tf.expand_dims(tf.transpose(tf.gather(RELATIVE, bucket), (2, 0, 1)), 0)
    bias += (1.0 - tf.cast(mask[:, None, None, :], tf.float32)) * -1e9

    def normal(x: Tensor) -> Tensor:
        return scale * (x * tf.math.rsqrt(tf.reduce_mean(tf.square(x), -1, keepdims=True) + 1e-6))

    for p in PARTS:
        q, k, v = (split(dense(normal(x)), batch) for dense in (p.q, p.k, p.v))
        scores = tf.einsum("bnqd,bnkd->bnqk", q, k) + bias
        x = x + p.out(joined(tf.matmul(tf.nn.softmax(scores, axis=-1), v), batch))
        x = x + p.narrow(tf.nn.relu(p.wide(normal(x))))
    return x


def einsum(ids: Tensor, mask: Tensor) -> Tensor:
    """Heads stay behind positions."""
    batch, x = tf.shape(ids)[0], tf.gather(TOKENS, ids)
    hidden = (1.0 - tf.cast(mask[:, None, None, :], tf.float32)) * -10000.0
    for p in PARTS:
        q, k, v = (tf.reshape(dense(x), (batch, -1, HEADS, SIZE)) for dense in (p.q, p.k, p.v))
        scores = tf.einsum("BTNH,BFNH->BNFT", k, q * (1 / np.sqrt(SIZE))) + hidden
        made = tf.einsum("BNFT,BTNH->BFNH", tf.nn.softmax(scores), v)
        x = p.first(p.out(tf.reshape(made, (batch, -1, WIDTH))) + x)
        x = p.second(p.narrow(p.wide(x)) + x)
    return x


def keras_mha(ids: Tensor, mask: Tensor) -> Tensor:
    x = tf.gather(TOKENS, ids)
    for p in PARTS:
        x = p.first(x + p.attention(x, x, attention_mask=mask[:, None, :]))
        x = p.second(x + p.narrow(tf.nn.gelu(p.wide(x))))
    return x


def keras_causal(ids: Tensor) -> Tensor:
    x = tf.gather(TOKENS, ids)
    for p in PARTS:
        x = p.first(x + p.attention(x, x, use_causal_mask=True))
        x = p.second(x + p.narrow(tf.nn.gelu(p.wide(x))))
    return x


def convert(function: Callable[..., Any], directory: Path) -> None:
    """One model. The sizes of each input have names of their own, as they have in every such file."""
    PARTS[:] = [Layer() for _ in range(LAYERS)]
    given = {"past": tf.TensorSpec((LAYERS, 2, None, HEADS, None, SIZE), tf.float32, name="past")}
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    spec = [given.get(n, tf.TensorSpec((None, None), tf.int32, name=n)) for n in names]
    path = directory / f"{function.__name__}_tf.onnx"
    tf2onnx.convert.from_function(
        tf.function(function, input_signature=spec), input_signature=spec, opset=17, output_path=str(path)
    )
    strip(path)


if __name__ == "__main__":
    tf.random.set_seed(0)
    for case in (bert, bert_flat, gpt2, t5, einsum, keras_mha, keras_causal):
        convert(case, Path(sys.argv[1]))
