"""Cases of numba_rt/ops/einsum.py."""

import numpy as np

from tests.ops.cases import Case, f32, f64, integers


def einsum(equation: str, *inputs: np.ndarray, **more) -> Case:
    oracle = lambda *xs, equation: np.einsum(equation, *xs)  # noqa: E731
    return Case("Einsum", inputs, {"equation": equation}, oracle=oracle, **more)


CASES = [
    einsum("ij->ji", f32(3, 5)),
    einsum("ij->i", f32(3, 5)),
    einsum("ij->", f32(3, 5)),
    einsum("->", f32()),
    einsum(",->", f32(), f32(seed=1)),
    einsum("...ii->...i", f32(3, 5, 5)),
    einsum("ii", f32(5, 5)),
    einsum("iji->j", f32(5, 3, 5)),
    einsum("i,i", f32(5), f32(5, seed=1)),
    einsum("i,j->ij", f32(5), f32(3, seed=1)),
    einsum("ij,ij->ij", f32(3, 4), f32(3, 4, seed=1)),
    einsum("bij, bjk -> bik", f32(5, 2, 3), f32(5, 3, 4, seed=1)),
    einsum("bhqd,bhkd->bhqk", f32(2, 3, 5, 8), f32(2, 3, 7, 8, seed=1)),
    einsum("bqhd,bkhd->bhqk", f32(2, 5, 3, 8), f32(2, 7, 3, 8, seed=1)),
    einsum("...ij,...jk", f32(2, 1, 3, 4), f32(5, 4, 2, seed=1)),
    einsum("a...b,b...->...a", f32(3, 2, 2, 4), f32(4, 2, 2, seed=1)),
    einsum("ij,jk,kl->il", f32(9, 2), f32(2, 30, seed=1), f32(30, 3, seed=2), rtol=1e-4, atol=1e-4),
    einsum("ab,bc,ca,a->", f64(3, 4), f64(4, 5, seed=1), f64(5, 3, seed=2), f64(3, seed=3)),
    einsum("ij,jk->k", f32(3, 4), f32(4, 5, seed=1)),
    einsum("ij,jk->ik", integers(3, 4, dtype=np.int8), integers(4, 5, dtype=np.int8, seed=1)),
    einsum("ij->j", integers(3, 4, dtype=np.uint16, low=0)),
    einsum("ij,j->i", integers(3, 4), integers(4, seed=1)),
    einsum("ab,ab->a", f32(3, 4), f32(3, 1, seed=1)),
    einsum("ij,jk->ik", f32(3, 0), f32(0, 5)),
    einsum("bA,aB", f32(2, 3), f32(4, 5, seed=1)),
    einsum("ij,jk->ik", f32(3, 4), f32(5, 4), raises="has sizes 4 and 5"),
    einsum("ij->ik", f32(3, 4), raises="output label 'k'"),
    einsum("ijk->i", f32(3, 4), raises="names 3 axes, its input has 2"),
    einsum("ij,j->i", f32(3, 4), raises="has 2 terms"),
    einsum("i1->i", f32(3, 4), raises="not made of letters"),
    einsum("ii->i", f32(3, 4), raises="differ in size"),
    einsum("i,i->i", f32(3), f64(3), raises="same dtype"),
]
