"""Windows added up where they overlap."""

from numba_rt.jit import kernel, prange, u


@kernel
def col2im(x, bias, g, y, tasks):
    """y[p, o] = bias[p mod size of bias] + Σ x[p, q, i] over taps q and windows i that meet pixel o.

    x: (planes, taps, windows), flat; y: planes of depth, height and width, flat.
    g int64, three each: number of windows, sizes of y, kernel, strides, dilations, padding in front.
    """
    in_h, in_w, out_d, out_h, out_w = g[1], g[2], g[3], g[4], g[5]
    stride, windows, taps = g[11], g[0] * g[1] * g[2], g[6] * g[7] * g[8]
    rows = y.size // out_w
    for t in prange(tasks):
        for row in range(t * rows // tasks, (t + 1) * rows // tasks):
            to, plane = row * out_w, row // out_h // out_d
            d, h = row // out_h % out_d + g[15], row % out_h + g[16]
            value = bias[u(plane % bias.size)]
            for i in range(to, to + out_w):
                y[u(i)] = value
            for k in range(g[6] * g[7]):
                dd, hh = d - k // g[7] * g[12], h - k % g[7] * g[13]
                if dd % g[9] != 0 or hh % g[10] != 0:
                    continue
                id, ih = dd // g[9], hh // g[10]
                if id < 0 or id >= g[0] or ih < 0 or ih >= in_h:
                    continue
                at = (plane * taps + k * g[8]) * windows + (id * in_h + ih) * in_w
                for kw in range(g[8]):
                    shift = kw * g[14] - g[17]
                    first = max(0, -(shift // stride))
                    stop = min(in_w, (out_w - 1 - shift) // stride + 1)
                    if stride == 1:
                        for i in range(first, stop):
                            y[u(to + shift + i)] += x[u(at + i)]
                    elif stride == 2:
                        for i in range(first, stop):
                            y[u(to + shift + 2 * i)] += x[u(at + i)]
                    else:
                        for i in range(first, stop):
                            y[u(to + shift + stride * i)] += x[u(at + i)]
                    at += windows
