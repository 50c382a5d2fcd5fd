"""Kernels of object detectors: boxes that overlap, and pools over regions of feature maps."""

from __future__ import annotations

import numpy as np

from numba_rt.jit import inline, kernel, prange, u

__all__ = ["region_align", "region_max", "suppress"]


LARGEST_BIN = 10_000
"""Pixels along a bin that are sampled; a larger one is no region of a feature map, and is empty."""


@inline
def _samples(given, pixels):
    """Samples along a bin."""
    if given > 0:
        return given
    return np.int64(np.ceil(pixels)) if pixels > 0 and pixels < LARGEST_BIN else np.int64(0)


@inline
def _overlaps(boxes, a, b, threshold):
    """Whether intersection over union is above a threshold; boxes are y1, x1, y2, x2."""
    height = min(boxes[u(a + 2)], boxes[u(b + 2)]) - max(boxes[u(a)], boxes[u(b)])
    width = min(boxes[u(a + 3)], boxes[u(b + 3)]) - max(boxes[u(a + 1)], boxes[u(b + 1)])
    if not (height > 0 and width > 0):
        return False
    shared = height * width
    area_a = (boxes[u(a + 2)] - boxes[u(a)]) * (boxes[u(a + 3)] - boxes[u(a + 1)])
    area_b = (boxes[u(b + 2)] - boxes[u(b)]) * (boxes[u(b + 3)] - boxes[u(b + 1)])
    union = area_a + area_b - shared
    return shared > 0 and area_a > 0 and area_b > 0 and union > 0 and shared / union > threshold


@kernel
def suppress(boxes, order, starts, n, classes, threshold, kept, counts, tasks):
    """kept[r, :counts[r]] = the candidates of row r that overlap none kept before them.

    boxes: (batch, n, 4), flat; order: candidates of all rows, best first, those of row r from
    starts[r] to starts[r + 1]; counts: (batch · classes,); kept: (batch · classes, most).
    """
    rows, most = kept.shape
    for t in prange(tasks):
        for r in range(t * rows // tasks, (t + 1) * rows // tasks):
            base, count = r // classes * n, 0
            for k in range(starts[r], starts[r + 1]):
                if count == most:
                    break
                box = order[u(k)]
                free = True
                for i in range(count):
                    if _overlaps(boxes, (base + box) * 4, (base + kept[u(r), u(i)]) * 4, threshold):
                        free = False
                        break
                if free:
                    kept[u(r), u(count)] = box
                    count += 1
            counts[r] = count


@inline
def _checked_image(image, batch, status):
    """The number of an image, 0 with a report if there is none."""
    if image < 0 or image >= batch:
        status[1] = image
        status[0] = 1
        return np.int64(0)
    return np.int64(image)


@kernel
def region_align(x, rois, images, g, scale, status, y, tasks):
    """y[r, c] = pooled samples of x[images[r], c] on a raster over region r.

    x: (batch, channels, height, width); rois: (regions, 4) of x1, y1, x2, y2; images: (regions,).
    g int64: samples along a bin (0: as many as it has pixels), half_pixel, whether to take maxima.
    """
    batch, channels, height, width = x.shape
    pooled_h, pooled_w = y.shape[2], y.shape[3]
    zero, one = x.dtype.type(0), x.dtype.type(1)
    shift = x.dtype.type(0.5) if g[1] != 0 else zero
    take_max = g[2] != 0
    rows = y.shape[0] * pooled_h
    for t in prange(tasks):
        for row in range(t * rows // tasks, (t + 1) * rows // tasks):
            r, ph = row // pooled_h, row % pooled_h
            image = _checked_image(images[r], batch, status)
            left, top = rois[r, 0] * scale - shift, rois[r, 1] * scale - shift
            wide, high = rois[r, 2] * scale - shift - left, rois[r, 3] * scale - shift - top
            if g[1] == 0:
                wide, high = max(wide, one), max(high, one)
            bin_h, bin_w = high / x.dtype.type(pooled_h), wide / x.dtype.type(pooled_w)
            grid_h, grid_w = _samples(g[0], bin_h), _samples(g[0], bin_w)
            count = x.dtype.type(max(grid_h * grid_w, 1))
            for pw in range(pooled_w):
                for c in range(channels):
                    y[u(r), u(c), u(ph), u(pw)] = zero
                for k in range(grid_h * grid_w):
                    iy, ix = x.dtype.type(k // grid_w), x.dtype.type(k % grid_w)
                    v = (
                        top
                        + x.dtype.type(ph) * bin_h
                        + (iy + x.dtype.type(0.5)) * bin_h / x.dtype.type(grid_h)
                    )
                    h = (
                        left
                        + x.dtype.type(pw) * bin_w
                        + (ix + x.dtype.type(0.5)) * bin_w / x.dtype.type(grid_w)
                    )
                    inside = v >= -one and v <= height and h >= -one and h <= width
                    v = min(max(v, zero), x.dtype.type(height - 1)) if inside else zero
                    h = min(max(h, zero), x.dtype.type(width - 1)) if inside else zero
                    y0, x0 = np.int64(v), np.int64(h)
                    y1, x1 = min(y0 + 1, height - 1), min(x0 + 1, width - 1)
                    ly, lx = v - x.dtype.type(y0), h - x.dtype.type(x0)
                    hy, hx = one - ly, one - lx
                    for c in range(channels):
                        a = hy * hx * x[u(image), u(c), u(y0), u(x0)]
                        b = hy * lx * x[u(image), u(c), u(y0), u(x1)]
                        d = ly * hx * x[u(image), u(c), u(y1), u(x0)]
                        e = ly * lx * x[u(image), u(c), u(y1), u(x1)]
                        if not inside:
                            a = b = d = e = zero
                        if not take_max:
                            y[u(r), u(c), u(ph), u(pw)] += (a + b + d + e) / count
                        else:
                            best = max(max(a, b), max(d, e))
                            if k > 0:
                                best = max(best, y[u(r), u(c), u(ph), u(pw)])
                            y[u(r), u(c), u(ph), u(pw)] = best


@inline
def _nearest(v):
    """The nearest integer, halves away from zero; far outside the image for what is no position."""
    v = min(max(float(v), -1e9), 1e9) if v == v else -1e9
    return np.int64(np.floor(v + 0.5) if v >= 0 else np.ceil(v - 0.5))


@kernel
def region_max(x, rois, scale, status, y, tasks):
    """y[r, c] = maxima of bins of region r of x, 0 for an empty bin.

    x: (batch, channels, height, width); rois: (regions, 5) of image, x1, y1, x2, y2.
    """
    batch, channels, height, width = x.shape
    pooled_h, pooled_w = y.shape[2], y.shape[3]
    rows = y.shape[0] * pooled_h
    for t in prange(tasks):
        for row in range(t * rows // tasks, (t + 1) * rows // tasks):
            r, ph = row // pooled_h, row % pooled_h
            image = _checked_image(_nearest(rois[r, 0]), batch, status)
            left, top = _nearest(rois[r, 1] * scale), _nearest(rois[r, 2] * scale)
            wide = max(_nearest(rois[r, 3] * scale) - left + 1, 1)
            high = max(_nearest(rois[r, 4] * scale) - top + 1, 1)
            h0 = min(max(ph * high // pooled_h + top, 0), height)
            h1 = min(max(((ph + 1) * high + pooled_h - 1) // pooled_h + top, 0), height)
            for pw in range(pooled_w):
                w0 = min(max(pw * wide // pooled_w + left, 0), width)
                w1 = min(max(((pw + 1) * wide + pooled_w - 1) // pooled_w + left, 0), width)
                for c in range(channels):
                    best = x.dtype.type(0)
                    if h0 < h1 and w0 < w1:
                        best = x[u(image), u(c), u(h0), u(w0)]
                    for h in range(h0, h1):
                        for w in range(w0, w1):
                            v = x[u(image), u(c), u(h), u(w)]
                            best = v if v > best or v != v else best
                    y[u(r), u(c), u(ph), u(pw)] = best
