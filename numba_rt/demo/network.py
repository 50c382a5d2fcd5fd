"""A small convolutional network in NumPy: its forward pass, its gradients and its ONNX form.

    conv 3×3 → norm → relu → conv 3×3 → norm → relu → max pool 2×2 → dense

Images are (b, c, h, w), weights as in ONNX; every function keeps the dtype it is given.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

Array = np.ndarray[Any, np.dtype[Any]]
Params = dict[str, Array]

EPSILON = 1e-5
CHANNELS = (16, 32)
CLASSES = 10
SIDE = 8


def initial(rng: np.random.Generator, dtype: Any = np.float32) -> Params:
    """Random weights, scaled so that activations keep their variance."""
    params: Params = {}
    fan_in = 1
    for i, channels in enumerate(CHANNELS, start=1):
        params[f"conv{i}.weight"] = rng.normal(0, (2 / (9 * fan_in)) ** 0.5, (channels, fan_in, 3, 3))
        params[f"norm{i}.scale"] = np.ones(channels)
        params[f"norm{i}.bias"] = np.zeros(channels)
        params[f"norm{i}.mean"] = np.zeros(channels)
        params[f"norm{i}.var"] = np.ones(channels)
        fan_in = channels
    features = fan_in * (SIDE // 2) ** 2
    params["dense.weight"] = rng.normal(0, features**-0.5, (features, CLASSES))
    params["dense.bias"] = np.zeros(CLASSES)
    return {name: value.astype(dtype) for name, value in params.items()}


def conv(x: Array, weight: Array) -> Array:
    """3×3 convolution with a border of zeros."""
    return np.einsum("bchwij,ocij->bohw", _windows(x), weight, optimize=True)


def conv_gradients(x: Array, weight: Array, dy: Array) -> tuple[Array, Array]:
    """Gradients of `conv` with respect to x and weight."""
    dweight = np.einsum("bchwij,bohw->ocij", _windows(x), dy, optimize=True)
    dx = conv(dy, weight[:, :, ::-1, ::-1].transpose(1, 0, 2, 3))
    return dx, dweight


def _windows(x: Array) -> Array:
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    return sliding_window_view(padded, (3, 3), axis=(2, 3))


def per_channel(v: Array) -> Array:
    """A vector over channels, shaped to broadcast over images."""
    return v.reshape(1, -1, 1, 1)


@dataclass(frozen=True)
class Normalised:
    """What `norm` computed from one batch, kept for its gradients."""

    unit: Array
    mean: Array
    var: Array


def norm(x: Array) -> Normalised:
    """Each channel of the batch shifted to mean 0 and scaled to variance 1."""
    mean, var = x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3))
    unit = (x - per_channel(mean)) / np.sqrt(per_channel(var) + x.dtype.type(EPSILON))
    return Normalised(unit, mean, var)


def norm_gradients(n: Normalised, scale: Array, dy: Array) -> tuple[Array, Array, Array]:
    """Gradients of `scale * norm(x) + bias` with respect to x, scale and bias."""
    dscale = (dy * n.unit).sum(axis=(0, 2, 3))
    dbias = dy.sum(axis=(0, 2, 3))
    count = dy.size // dy.shape[1]
    centred = dy - (per_channel(dbias) + n.unit * per_channel(dscale)) / dy.dtype.type(count)
    dx = centred * per_channel(scale / np.sqrt(n.var + n.var.dtype.type(EPSILON)))
    return dx, dscale, dbias


def pool(x: Array) -> Array:
    """Maximum over blocks of 2×2."""
    return _blocks(x).max(axis=(3, 5))


def pool_gradient(x: Array, y: Array, dy: Array) -> Array:
    """Gradient of `pool`: goes to the pixels that were the maximum."""
    is_maximum = _blocks(x) == y[:, :, :, None, :, None]
    return (is_maximum * dy[:, :, :, None, :, None]).reshape(x.shape)


def _blocks(x: Array) -> Array:
    b, c, h, w = x.shape
    return x.reshape(b, c, h // 2, 2, w // 2, 2)


def softmax(logits: Array) -> Array:
    """Probabilities along the last axis."""
    e = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def predict(params: Params, x: Array) -> Array:
    """Logits of images, with the statistics that training has gathered."""
    for i in (1, 2):
        y = conv(x, params[f"conv{i}.weight"])
        scale = params[f"norm{i}.scale"] / np.sqrt(params[f"norm{i}.var"] + y.dtype.type(EPSILON))
        shift = params[f"norm{i}.bias"] - params[f"norm{i}.mean"] * scale
        x = np.maximum(y * per_channel(scale) + per_channel(shift), 0)
    return pool(x).reshape(len(x), -1) @ params["dense.weight"] + params["dense.bias"]


def loss_and_gradients(params: Params, x: Array, labels: Array) -> tuple[float, Params, Params]:
    """Mean cross entropy of a batch, its gradients, and the batch's channel statistics."""
    inputs, norms = [], []
    for i in (1, 2):
        inputs.append(x)
        n = norm(conv(x, params[f"conv{i}.weight"]))
        norms.append(n)
        scale, bias = params[f"norm{i}.scale"], params[f"norm{i}.bias"]
        x = np.maximum(n.unit * per_channel(scale) + per_channel(bias), 0)
    inputs.append(x)
    pooled = pool(x)
    flat = pooled.reshape(len(x), -1)
    probabilities = softmax(flat @ params["dense.weight"] + params["dense.bias"])
    rows = np.arange(len(labels))
    loss = float(-np.log(probabilities[rows, labels]).mean())

    gradients: Params = {}
    dlogits = probabilities
    dlogits[rows, labels] -= 1
    dlogits /= dlogits.dtype.type(len(labels))
    gradients["dense.weight"] = flat.T @ dlogits
    gradients["dense.bias"] = dlogits.sum(axis=0)
    dx = pool_gradient(x, pooled, (dlogits @ params["dense.weight"].T).reshape(pooled.shape))
    statistics: Params = {}
    for i in (2, 1):
        n, scale = norms[i - 1], params[f"norm{i}.scale"]
        dx = dx * (inputs[i] > 0)
        dx, gradients[f"norm{i}.scale"], gradients[f"norm{i}.bias"] = norm_gradients(n, scale, dx)
        dx, gradients[f"conv{i}.weight"] = conv_gradients(inputs[i - 1], params[f"conv{i}.weight"], dx)
        statistics[f"norm{i}.mean"], statistics[f"norm{i}.var"] = n.mean, n.var
    return loss, gradients, statistics
