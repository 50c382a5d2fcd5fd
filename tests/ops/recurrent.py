"""Cases of numba_rt/ops/recurrent.py, against the equations of the standard in float64."""

import numpy as np

from tests.ops.cases import Case, f32, f64


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


FUNCTIONS = {
    "Sigmoid": lambda x, a, b: sigmoid(x),
    "Tanh": lambda x, a, b: np.tanh(x),
    "Relu": lambda x, a, b: np.maximum(x, 0),
    "Affine": lambda x, a, b: a * x + b,
    "LeakyRelu": lambda x, a, b: np.where(x >= 0, x, a * x),
    "ThresholdedRelu": lambda x, a, b: np.where(x >= a, x, 0),
    "ScaledTanh": lambda x, a, b: a * np.tanh(b * x),
    "HardSigmoid": lambda x, a, b: np.clip(a * x + b, 0, 1),
    "Elu": lambda x, a, b: np.where(x >= 0, x, a * (np.exp(np.minimum(x, 0)) - 1)),
    "Softsign": lambda x, a, b: x / (1 + np.abs(x)),
    "Softplus": lambda x, a, b: np.log1p(np.exp(x)),
}


def rnn_step(x, h, c, r, b, p, act, flag):
    return act[0](x + h @ r.T + b[0] + b[1]), c


def gru_step(x, h, c, r, b, p, act, flag):
    (xz, xr, xh), (rz, rr, rh) = np.split(x, 3, -1), np.split(r, 3)
    (wz, wr, wh), (bz, br, bh) = np.split(b[0], 3), np.split(b[1], 3)
    z, reset = act[0](xz + h @ rz.T + wz + bz), act[0](xr + h @ rr.T + wr + br)
    new = reset * (h @ rh.T + bh) if flag else (reset * h) @ rh.T + bh
    return (1 - z) * act[1](xh + wh + new) + z * h, c


def lstm_step(x, h, c, r, b, p, act, flag):
    i, o, f, g = np.split(x + h @ r.T + b[0] + b[1], 4, -1)
    pi, po, pf = np.split(p, 3)
    i = act[0](i + pi * c)
    f = 1 - i if flag else act[0](f + pf * c)
    c = f * c + i * act[1](g)
    return act[0](o + po * c) * act[2](c), c


def layer(step, gates, defaults, flag_name):
    """An oracle."""

    def oracle(
        x, w, r, b=None, lens=None, h0=None, c0=None, p=None, layout=0, direction="forward", **attributes
    ):
        dtype = x.dtype
        x, w, r = (v.astype(np.float64) for v in (x, w, r))
        x = x.swapaxes(0, 1) if layout else x
        (steps, batch, _), (dirs, _, hidden) = x.shape, r.shape
        b = np.zeros((dirs, 2 * gates * hidden)) if b is None else b.astype(np.float64)
        p = np.zeros((dirs, 3 * hidden)) if p is None else p.astype(np.float64)
        firsts = [
            np.zeros((dirs, batch, hidden)) if s is None else s.swapaxes(0, 1) if layout else s
            for s in (h0, c0)
        ]
        lens = np.full(batch, steps) if lens is None else lens
        y, last_h, last_c = np.zeros((steps, dirs, batch, hidden)), firsts[0] * 1.0, firsts[1] * 1.0
        for d in range(dirs):
            act = functions(attributes, defaults, d, dirs)
            for n in range(batch):
                times = range(lens[n])
                h, c = firsts[0][d, n], firsts[1][d, n]
                for t in times[::-1] if d or direction == "reverse" else times:
                    split = np.split(b[d], 2)
                    h, c = step(x[t, n] @ w[d].T, h, c, r[d], split, p[d], act, attributes.get(flag_name))
                    y[t, d, n] = h
                last_h[d, n], last_c[d, n] = h, c
        if layout:
            y, last_h, last_c = y.transpose(2, 0, 1, 3), last_h.swapaxes(0, 1), last_c.swapaxes(0, 1)
        return tuple(v.astype(dtype) for v in (y, last_h, last_c))[: 3 if gates == 4 else 2]

    return oracle


def functions(attributes, defaults, d, dirs):
    k = len(defaults)
    names = (attributes.get("activations") or defaults * dirs)[d * k : d * k + k]
    alphas = (attributes.get("activation_alpha") or (0.5,) * (k * dirs))[d * k : d * k + k]
    betas = (attributes.get("activation_beta") or (0.5,) * (k * dirs))[d * k : d * k + k]
    clip = attributes.get("clip", np.inf)
    return [
        lambda x, f=FUNCTIONS[n], a=a, b=b: f(np.clip(x, -clip, clip), a, b)
        for n, a, b in zip(names, alphas, betas, strict=True)
    ]


LAYERS = {
    "RNN": (1, layer(rnn_step, 1, ("Tanh",), "")),
    "GRU": (3, layer(gru_step, 3, ("Sigmoid", "Tanh"), "linear_before_reset")),
    "LSTM": (4, layer(lstm_step, 4, ("Sigmoid", "Tanh", "Tanh"), "input_forget")),
}


def case(name, steps, batch, size, hidden, given=(), make=f32, lens=None, raises="", **attributes):
    """A layer on random numbers; `given` names the optional inputs: b, h, c, p."""
    gates, oracle = LAYERS[name]
    dirs = 2 if attributes.get("direction") == "bidirectional" else 1
    flip = attributes.get("layout", 0)
    x = make(batch, steps, size) if flip else make(steps, batch, size)
    state = (batch, dirs, hidden) if flip else (dirs, batch, hidden)
    inputs = [
        x,
        make(dirs, gates * hidden, size, seed=1) * x.dtype.type(0.3),
        make(dirs, gates * hidden, hidden, seed=2) * x.dtype.type(0.2),
        make(dirs, 2 * gates * hidden, seed=3) if "b" in given else None,
        None if lens is None else np.array(lens, np.int32),
        make(*state, seed=4) if "h" in given else None,
    ]
    if name == "LSTM":
        inputs += [
            make(*state, seed=5) if "c" in given else None,
            make(dirs, 3 * hidden, seed=6) if "p" in given else None,
        ]
    return Case(
        name, tuple(inputs), attributes, 3 if name == "LSTM" else 2, oracle, raises, rtol=1e-4, atol=1e-5,
        label=f"{''.join(given)}{lens or ''}",
    )  # fmt: skip


def many(name, alike):
    """Cases every layer has."""
    return [
        case(name, 5, 3, 4, 9),
        case(name, 5, 3, 4, 9, "bhc", direction="reverse"),
        case(name, 6, 2, 5, 16, "bhc", direction="bidirectional"),
        case(name, 4, 3, 5, 8, "bhc", direction="bidirectional", layout=1),
        case(name, 4, 3, 5, 7, "bh", lens=[4, 0, 2], direction="bidirectional"),
        case(name, 4, 3, 5, 7, "b", lens=[1, 3, 4], direction="reverse", layout=1),
        case(name, 1, 1, 12, 33, "bhc"),
        case(name, 2, 3, 5, 260, "bh", direction="bidirectional"),
        case(name, 1, 2, 5, 540),
        case(name, 0, 2, 3, 4, "bhc"),
        case(name, 3, 0, 3, 4, "bhc"),
        case(name, 3, 2, 3, 4, "bhc", make=f64, direction="bidirectional"),
        case(name, 3, 2, 3, 4, "b", clip=0.3),
        *alike,
        case(name, 3, 2, 3, 4, direction="both", raises="direction = 'both'"),
        case(name, 3, 2, 3, 4, hidden_size=5, raises="hidden_size = 5"),
        case(name, 3, 2, 3, 4, activations=("Cube", "Tanh", "Tanh"), raises="expected some of Sigmoid"),
        case(name, 3, 2, 3, 4, layout=2, raises="layout = 2"),
        case(name, 3, 2, 3, 4, lens=[3], raises="sequence_lens = int32[1]: expected the shape [2]"),
    ]


ALPHA = {"activation_alpha": (0.3, 0.4, 0.7), "activation_beta": (0.2, 0.6, 0.4)}
WRONG = case("RNN", 3, 2, 3, 4).inputs

CASES = [
    *many(
        "RNN",
        [
            *(
                case(
                    "RNN", 3, 2, 3, 4, "b", activations=(n,), activation_alpha=(0.3,), activation_beta=(0.6,)
                )
                for n in FUNCTIONS
            ),
            case("RNN", 3, 1, 3, 4, activations=("Relu", "Tanh"), direction="bidirectional"),
            case("RNN", 3, 1, 3, 4, activations=("Relu",), direction="bidirectional", raises="expected 2"),
        ],
    ),
    *many(
        "GRU",
        [
            case(
                "GRU", 5, 3, 4, 9, "bh", linear_before_reset=True, direction="bidirectional", lens=[5, 2, 0]
            ),
            case("GRU", 5, 3, 4, 9, linear_before_reset=True),
        ],
    ),
    *many(
        "LSTM",
        [
            case("LSTM", 5, 3, 4, 9, "bhcp"),
            case("LSTM", 5, 3, 4, 9, "p", direction="bidirectional"),
            case("LSTM", 5, 3, 4, 9, "bhcp", input_forget=True),
            case("LSTM", 5, 2, 4, 9, "b", activations=("HardSigmoid", "ScaledTanh", "Affine"), **ALPHA),
            case("LSTM", 5, 2, 4, 9, "p", clip=0.5),
        ],
    ),
    Case(
        "RNN",
        (WRONG[0], WRONG[1][:, :3], WRONG[2]),
        n_outputs=2,
        raises="W = float32[1,3,3]".replace(",", ", "),
    ),
    Case("RNN", (WRONG[0], WRONG[1], WRONG[2].astype(np.float64)), n_outputs=2, raises="same dtype"),
]
