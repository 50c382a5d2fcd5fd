"""Convolution of any float dtype over three spatial axes, in ONNX's own layout."""

from numba_rt.jit import kernel, prange


@kernel
def conv_any(x, w, bias, g, y, tasks):
    """y[b, o, p] = bias[o] + sum over c of o's group and taps q of x[b, c, p s + q d - pad] w[o, c, q].

    x (b, c, d, h, w), w (o, c / groups, kd, kh, kw), y (b, o, ...);
    g int64: groups, strides (3), dilations (3), pads before (3).
    """
    own = w.shape[1]
    per_group = w.shape[0] // g[0]
    total = y.shape[0] * y.shape[1]
    for t in prange(tasks):
        for item in range(t * total // tasks, (t + 1) * total // tasks):
            b, o = item // y.shape[1], item % y.shape[1]
            c0 = o // per_group * own
            for p0 in range(y.shape[2]):
                for p1 in range(y.shape[3]):
                    for p2 in range(y.shape[4]):
                        y[b, o, p0, p1, p2] = bias[o]
            for c in range(own):
                for q0 in range(w.shape[2]):
                    for q1 in range(w.shape[3]):
                        for q2 in range(w.shape[4]):
                            factor = w[o, c, q0, q1, q2]
                            for p0 in range(y.shape[2]):
                                i0 = p0 * g[1] + q0 * g[4] - g[7]
                                if i0 < 0 or i0 >= x.shape[2]:
                                    continue
                                for p1 in range(y.shape[3]):
                                    i1 = p1 * g[2] + q1 * g[5] - g[8]
                                    if i1 < 0 or i1 >= x.shape[3]:
                                        continue
                                    for p2 in range(y.shape[4]):
                                        i2 = p2 * g[3] + q2 * g[6] - g[9]
                                        if i2 >= 0 and i2 < x.shape[4]:
                                            y[b, o, p0, p1, p2] += factor * x[b, c0 + c, i0, i1, i2]
