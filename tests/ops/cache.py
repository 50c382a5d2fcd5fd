"""Cases of numba_rt/ops/cache.py."""

from typing import Any

import numpy as np

from tests.ops.attention import attend, hidden
from tests.ops.cases import Case, f32

ROWS_FIRST = (1, 2, 0, 3)


def from_cache(q: np.ndarray, k: np.ndarray, v: np.ndarray, *masks: np.ndarray, **attributes: Any) -> Any:
    """CacheAttention in float64."""
    return attend(q, k.transpose(ROWS_FIRST), v.transpose(ROWS_FIRST), *masks, **attributes)


def case(*inputs: np.ndarray, raises: str = "", **attributes: Any) -> Case:
    return Case(
        "CacheAttention", inputs, attributes, oracle=from_cache, domain="numba_rt", rtol=2e-5, atol=2e-6,
        raises=raises,
    )  # fmt: skip


K, V = f32(9, 2, 3, 8), f32(9, 2, 3, 4)

CASES = [
    case(f32(2, 3, 1, 8), K, V, heads=3, kv_heads=3, scale=0.5),
    case(f32(2, 1, 24), K, V, hidden(2, 1, 1, 9), heads=3, kv_heads=3, q_merged=True, y_merged=True),
    case(f32(2, 6, 5, 8), K, V, hidden(1, 1, 5, 9), heads=6, kv_heads=3, right=4),
    case(f32(2, 3, 30, 8), f32(130, 2, 3, 8), f32(130, 2, 3, 8), heads=3, kv_heads=3),
    case(f32(2, 3, 0, 8), K, V, heads=3, kv_heads=3),
    case(f32(2, 3, 1, 8), K, f32(8, 2, 3, 4), heads=3, kv_heads=3, raises="do not belong together"),
    case(f32(2, 3, 1, 8), K[0], V, heads=3, kv_heads=3, raises="K"),
]
