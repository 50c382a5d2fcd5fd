"""The demo: its stored model, what it prints, and the training that made the model."""

import numpy as np
import onnx
import pytest

import numba_rt
from numba_rt.demo import __main__ as demo
from numba_rt.demo import network, train
from numba_rt.demo.scans import HELD_OUT, Scans, held_out, split
from numba_rt.kernel_cache import Stats


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture(scope="module")
def scans():
    return held_out()


def central_difference(f, x, at, step=1e-6):
    kept = x[at]
    x[at] = kept + step
    above = f()
    x[at] = kept - step
    below = f()
    x[at] = kept
    return (above - below) / (2 * step)


def test_stored_files_are_small():
    assert demo.MODEL.stat().st_size < 300_000
    assert HELD_OUT.stat().st_size < 100_000


def test_stored_model_is_valid_onnx():
    model = onnx.load(demo.MODEL)
    onnx.checker.check_model(model, full_check=True)
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"


def test_stored_scans_are_the_last_of_each_digit(scans):
    learnt, last = split()
    np.testing.assert_array_equal(scans.images, last.images)
    np.testing.assert_array_equal(scans.labels, last.labels)
    assert len(scans) == 360
    assert (np.bincount(scans.labels) == 36).all()
    assert len(learnt) + len(last) == 1797


@pytest.mark.parametrize("batch", [1, 7, 360])
def test_stored_model_recognises_held_out_scans(scans, batch):
    model = numba_rt.load(demo.MODEL)
    pixels = scans.pixels()
    found = [model(image=pixels[i : i + batch])["logits"].argmax(axis=1) for i in range(0, 360, batch)]
    assert (np.concatenate(found) == scans.labels).mean() >= 0.975


def test_main_tells_what_was_recognised_and_how_long_it_took(capsys):
    assert demo.main() == 0
    text = capsys.readouterr().out
    for promised in (
        "Accuracy",
        "Load",
        "Compile",
        "First run",
        "Steady run",
        "numba-rt inspect",
        "README.md",
    ):
        assert promised in text
    assert "of 360 held-out scans" in text
    assert "\x1b" not in text


def test_scans_are_drawn_beside_each_other_with_the_truth_where_it_differs():
    images = np.zeros((2, 8, 8), np.uint8)
    images[0, 2, 3] = 16
    probabilities = np.full((2, 10), 0.01)
    probabilities[:, 4] = 0.91
    text = demo.show(Scans(images, np.array([4, 9])), probabilities, [0, 1])
    lines = text.split("\n")
    assert len(lines) == 10
    assert lines[2] == " " * 8 + 2 * demo.SHADES[-1]
    assert lines[-1].split() == ["4", "(91.0%)", "4", "(91.0%,", "is", "9)"]


def test_drawing_falls_back_to_ascii(monkeypatch):
    monkeypatch.setattr(demo, "can_print", lambda text: text.isascii())
    scans = Scans(np.full((1, 8, 8), 16, np.uint8), np.array([0]))
    assert demo.show(scans, np.eye(10)[:1], [0]).isascii()
    assert demo.duration(3e-6) == "3.00 us"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(12.345, "12.3 s"), (0.5, "500 ms"), (0.0123, "12.3 ms"), (45.67e-6, "45.7 µs"), (0, "0.00 µs")],
)
def test_duration(monkeypatch, seconds, text):
    monkeypatch.setattr(demo, "can_print", lambda text: True)
    assert demo.duration(seconds) == text


@pytest.mark.parametrize(
    ("after", "text"),
    [
        (Stats(loaded=2, compiled=9, compile_seconds=1.5), "6 kernels in 500 ms (cold)"),
        (Stats(loaded=5, compiled=3, compile_seconds=1.0), "nothing: 4 kernels came from the cache"),
        (Stats(loaded=1, compiled=3, compile_seconds=1.0), "nothing to do"),
    ],
)
def test_compilation_counts_from_the_start_of_the_demo(after, text):
    assert demo.compilation(Stats(loaded=1, compiled=3, compile_seconds=1.0), after).startswith(text)


def test_conv_equals_its_definition(rng):
    x, weight = rng.normal(size=(2, 3, 5, 4)), rng.normal(size=(6, 3, 3, 3))
    y = network.conv(x, weight)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    for b, o, h, w in [(0, 0, 0, 0), (1, 5, 4, 3), (0, 2, 2, 1)]:
        assert y[b, o, h, w] == pytest.approx((padded[b, :, h : h + 3, w : w + 3] * weight[o]).sum())


def test_conv_gradients_equal_finite_differences(rng):
    x, weight = rng.normal(size=(2, 3, 4, 4)), rng.normal(size=(5, 3, 3, 3))
    dy = rng.normal(size=(2, 5, 4, 4))
    dx, dweight = network.conv_gradients(x, weight, dy)

    def loss():
        return float((network.conv(x, weight) * dy).sum())

    for at in [(0, 0, 0, 0), (1, 2, 3, 3), (0, 1, 2, 1)]:
        assert dx[at] == pytest.approx(central_difference(loss, x, at), rel=1e-6)
    for at in [(0, 0, 0, 0), (4, 2, 2, 2), (3, 1, 0, 2)]:
        assert dweight[at] == pytest.approx(central_difference(loss, weight, at), rel=1e-6)


def test_network_gradients_equal_finite_differences(rng):
    params = network.initial(rng, np.float64)
    x, labels = rng.uniform(size=(6, 1, 8, 8)), rng.integers(0, 10, 6)
    _, gradients, _ = network.loss_and_gradients(params, x, labels)

    def loss():
        return network.loss_and_gradients(params, x, labels)[0]

    assert set(gradients) == {name for name in params if not name.endswith((".mean", ".var"))}
    for name, gradient in gradients.items():
        for flat in rng.integers(0, gradient.size, 3):
            at = np.unravel_index(flat, gradient.shape)
            difference = central_difference(loss, params[name], at)
            assert gradient[at] == pytest.approx(difference, rel=1e-4, abs=1e-7), name


def test_training_is_deterministic_and_lowers_the_loss():
    rng = np.random.default_rng(3)
    labels = np.repeat(np.arange(10), 10)
    prototypes = rng.integers(0, 17, (10, 8, 8))
    scans = Scans(prototypes[labels].astype(np.uint8), labels)
    told = []
    params = train.train(scans, epochs=6, report=told.append)
    again = train.train(scans, epochs=6, report=lambda line: None)
    losses = [float(line.rsplit(" ", 1)[1]) for line in told]
    assert losses[-1] < losses[0] / 2
    for name, value in params.items():
        np.testing.assert_array_equal(value, again[name])
    train.check(train.to_onnx(params), params, scans.pixels())


def test_check_refuses_a_model_that_computes_something_else(rng):
    params = network.initial(rng)
    other = params | {"dense.bias": params["dense.bias"] + 1}
    with pytest.raises(AssertionError):
        train.check(train.to_onnx(other), params, rng.uniform(size=(2, 1, 8, 8)).astype(np.float32))


def test_training_script_writes_model_and_scans(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(train, "train", lambda scans: network.initial(np.random.default_rng(0)))
    assert train.main([str(tmp_path / "new")]) == 0
    assert "held-out scans recognised" in capsys.readouterr().out
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"digits.onnx", "scans.npz"}
