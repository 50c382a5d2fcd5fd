"""What the cases cannot say of random numbers: their distribution, and that runs differ."""

import numpy as np
import pytest

from numba_rt.ops import get
from numba_rt.ops._eager import run_op


def draw(name, *inputs, **attributes):
    cls = get("", name)
    assert cls is not None
    return run_op(cls(**attributes), inputs, 1)[0]


def test_normal_numbers_have_the_mean_and_scale():
    x = draw("RandomNormal", shape=(100_000,), mean=3.0, scale=2.0)
    assert abs(x.mean() - 3) < 0.05
    assert abs(x.std() - 2) < 0.05


def test_uniform_numbers_stay_between_the_limits():
    x = draw("RandomUniformLike", np.zeros(100_000, np.float32), low=-1.0, high=3.0)
    assert -1 <= x.min() < -0.99
    assert 2.99 < x.max() <= 3
    assert abs(x.mean() - 1) < 0.05


def test_classes_come_as_often_as_they_should():
    p = np.array([0.1, 0.2, 0.7])
    x = draw("Multinomial", np.log(p)[None], sample_size=100_000)
    np.testing.assert_allclose(np.bincount(x[0]) / x.size, p, atol=0.01)


@pytest.mark.parametrize("name", ["RandomNormal", "RandomUniform"])
def test_runs_without_a_seed_differ(name):
    assert not np.array_equal(draw(name, shape=(8,)), draw(name, shape=(8,)))
