"""Every example runs, and gives the numbers of the tutorials it follows."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"
# Trained by Chainer 7.8.1 from NumPy's seed 0: `losses` of all iterations, and the trained network at `probe_x`.
GOLDEN = ROOT / "tests" / "data" / "golden_chainer_mlp.npz"


def load(name: str) -> ModuleType:
    """An example as a module, found as when it is run as a script."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.syspath_prepend(EXAMPLES)
    return load


def pixels(path: Path) -> np.ndarray:
    """A picture as an array of shape (height, width, 3), after a look at its size."""
    assert path.read_bytes().startswith(b"\x89PNG\r\n")
    assert 8_000 < path.stat().st_size < 1_000_000
    image = pytest.importorskip("matplotlib.image").imread(path)
    assert min(image.shape[:2]) > 300
    return image[..., :3]


def check_drawn(path: Path) -> None:
    """Neither blank nor full: ink of several colours on a white ground."""
    image = pixels(path)
    ink = np.mean(np.any(image < 0.9, axis=-1))
    assert 0.005 < ink < 0.9
    assert len(np.unique((image[::2, ::2] * 7).astype(int).reshape(-1, 3), axis=0)) > 6


def numbers(line: str) -> list[float]:
    """The numbers after the last colon or equals sign of a line."""
    return [float(word.strip(",[]()")) for word in line.replace("=", ":").rsplit(":", 1)[1].split()]


def found(output: str, start: str) -> list[float]:
    """The numbers of the line that begins with `start`."""
    (line,) = [line for line in output.splitlines() if line.strip().startswith(start)]
    return numbers(line)


def test_variables_and_derivatives(example, capsys):
    example("variables_and_derivatives").main()
    output = capsys.readouterr().out
    assert found(output, "y     =") == [16.0]
    assert found(output, "dy/dx =") == [8.0]
    assert found(output, "y, dy/dx, dy/dz") == [16.0, 8.0, -1.0]
    assert "[[0.0, 2.0, 4.0], [6.0, 8.0, 10.0]]" in output
    assert "added up: [[0.0, 4.0, 8.0], [12.0, 16.0, 20.0]]" in output
    assert "first  [[0.0, 12.0, 27.0], [48.0, 75.0, 108.0]]" in output
    assert "second [[0.0, 12.0, 18.0], [24.0, 30.0, 36.0]]" in output
    assert found(output, "at 3, three times") == [27.0, 18.0, 6.0]
    assert found(output, "at 3, pulled back from 2") == [54.0]


def test_composite_function(example, capsys, tmp_path):
    example("composite_function").main(tmp_path)
    output = capsys.readouterr().out
    assert found(output, "z(1, 2, 3)") == [42.0]
    assert found(output, "dz/dx1, dz/dx2, dz/dx3") == [-8.0, 46.0, 20.0]
    assert found(output, "d sin / dx") == pytest.approx([np.cos(-1), 1, np.cos(1)], rel=1e-6)
    assert "on two rows: (2, 4)" in output
    check_drawn(tmp_path / "composite.png")
    check_drawn(tmp_path / "composite_derivatives.png")


def test_the_layers_of_the_composite_function(example):
    module = example("composite_function")
    rng = np.random.default_rng(1)
    w, b, x = rng.normal(size=(4, 3)), rng.normal(size=4), rng.normal(size=(2, 3))
    np.testing.assert_allclose(module.linear({"W": w, "b": b}, x), x @ w.T + b, rtol=1e-14)


def test_linear_chain(example, capsys, tmp_path):
    module = example("linear_chain")
    rows = np.array(module.by_hand())
    assert rows.shape == (5, 6)
    np.testing.assert_allclose(rows[:, 2], rows[:, 3], rtol=1e-6)  # 2(y - t)x against the gradient
    np.testing.assert_allclose(rows[:, 4], rows[:, 5], rtol=1e-6)  # 2(y - t)
    np.testing.assert_allclose(rows[1:, 0], rows[:-1, 0] - 0.01 * rows[:-1, 3], rtol=1e-6)
    np.testing.assert_allclose(rows[1:, 1], rows[:-1, 1] - 0.01 * rows[:-1, 5], rtol=1e-6)
    way = module.descend()
    assert way.shape == (101, 2)
    distance = np.hypot(*(way - module.least_squares()).T)
    assert distance[-1] < 0.3 < distance[0]
    module.main(tmp_path)
    assert "after 1,000 steps" in capsys.readouterr().out
    check_drawn(tmp_path / "linear_chain.png")


def test_dezero_steps(example, capsys):
    result = example("dezero_steps").main()
    output = capsys.readouterr().out
    assert found(output, "y, dy/db, dy/da, dy/dx")[-1] == pytest.approx(3.297442541400256, rel=1e-15)
    assert output.count("3.297442541400256") == 4
    assert found(output, "add(square(2), square(3))") == [13.0, 4.0, 6.0]
    assert found(output, "x + x:") == [2.0]
    assert found(output, "x + x + x:") == [3.0]
    assert "add(square(a), square(a)): 32.0 64.0" in output
    assert "in topological order: True" in output
    assert result.wasSuccessful()


def test_exponential(example, capsys, tmp_path):
    """All 10,000 losses against Chainer's; differences are those of the order of float32 additions."""
    module = example("exponential")
    golden = np.load(GOLDEN)
    params, losses = module.train()
    assert len(losses) == 10_000
    ratio = np.abs(np.array(losses) / golden["losses"] - 1)
    assert ratio[:10].max() < 1e-6
    assert ratio[:100].max() < 1e-5
    assert ratio[:1_000].max() < 1e-4
    assert ratio.max() < 0.02
    assert losses[0] == pytest.approx(2.953406, abs=1e-6)
    assert losses[9] == pytest.approx(2.152205, abs=1e-6)
    assert losses[99] == pytest.approx(0.0750177, rel=1e-5)
    assert losses[999] == pytest.approx(0.00120879, rel=1e-4)
    assert losses[9_999] == pytest.approx(3.794e-6, rel=0.02)
    np.testing.assert_allclose(module.predict(params, golden["probe_x"]), golden["probe_y"], atol=1e-4)
    for name, layer in params.items():
        for kind, array in layer.items():
            assert array.dtype == np.float32
            np.testing.assert_allclose(array, golden[f"final/{name}/{kind}"], atol=1e-3)
    module.plot(params, losses, tmp_path)
    check_drawn(tmp_path / "exponential_loss.png")
    check_drawn(tmp_path / "exponential_fit.png")


def test_exponential_starts_where_chainer_does(example):
    golden = np.load(GOLDEN)
    params = example("exponential").init((1, 16, 32, 1), np.random.RandomState(0))
    for name, layer in params.items():
        np.testing.assert_array_equal(layer["W"], golden[f"init/{name}/W"])


def test_classifier(example, capsys, monkeypatch):
    module = example("classifier")
    monkeypatch.setattr(module.train, "__defaults__", (1000, 60, 0))
    module.main("60")
    _, losses, right = capsys.readouterr().out.splitlines()
    first, last = (float(word.split(",")[0]) for word in losses.replace("of the last ten", ":").split(": ")[1:])
    assert last < first / 2
    assert float(right.split()[1]) > 60


def test_the_classifier_s_step_stays_in_its_memory_and_computes_what_numpy_does(example):
    module = example("classifier")
    rng = np.random.default_rng(0)
    params = module.init((20, 30, 10), rng)
    velocity = [{k: np.zeros_like(p) for k, p in layer.items()} for layer in params]
    x, labels = rng.normal(size=(50, 20)).astype(np.float32), rng.integers(0, 10, 50)
    wanted = module.graphc.jit(module.step, kernels="none")(params, velocity, x, labels)
    places = [p.__array_interface__["data"] for layer in params for p in layer.values()]
    value, params, velocity = module.graphc.jit(module.step, donate_argnums=(0, 1))(params, velocity, x, labels)
    np.testing.assert_allclose(value, wanted[0], rtol=1e-5)
    for tree, expected in ((params, wanted[1]), (velocity, wanted[2])):
        for layer, other in zip(tree, expected, strict=True):
            for k in layer:
                np.testing.assert_allclose(layer[k], other[k], rtol=1e-4, atol=1e-6)
    held = {p.__array_interface__["data"] for tree in (params, velocity) for layer in tree for p in layer.values()}
    assert held >= set(places)


def test_monte_carlo(example, capsys, tmp_path):
    """Within five standard errors of the closed form; the curve of deltas as near as 2,000 paths allow."""
    module = example("monte_carlo")
    module.main(tmp_path)
    output = capsys.readouterr().out
    price, error = (float(word) for word in output.split("price : ")[1].split(",")[0].split(" ± "))
    exact, slopes = module.black_scholes()
    assert exact == pytest.approx(9.1218, abs=1e-4)
    assert abs(price - exact) < 5 * error
    for name, greek in module.NAMES.items():
        simulated, formula = (
            float(word) for word in output.split(f"{greek:6}: ")[1].split("\n")[0].split(", by the formula ")
        )
        assert formula == pytest.approx(slopes[name], abs=1e-4)
        assert simulated == pytest.approx(formula, rel=0.005)
    key = module.random.key(0)
    _, means, errors = module.convergence(key)
    assert np.all(np.abs(means - exact) < 5 * errors)
    _, found, wanted = module.curves(key)
    np.testing.assert_allclose(found, wanted, atol=5 * 0.5 / np.sqrt(2_000))
    check_drawn(tmp_path / "monte_carlo.png")


def test_the_greeks_are_derivatives_of_the_price(example):
    module = example("monte_carlo")
    price = module.black_scholes()[0]
    step = 1e-4
    ahead, back = (module.black_scholes(module.SPOT + s)[0] for s in (step, -step))
    assert module.black_scholes()[1]["spot"] == pytest.approx((ahead - back) / (2 * step), rel=1e-6)
    assert ahead > price > back


def test_gaussian_process(example, capsys, tmp_path):
    """The likelihood is SciPy's, its minimum has no slope, and the truth lies mostly within the band."""
    module = example("gaussian_process")
    module.main(tmp_path)
    output = capsys.readouterr().out
    line = output.split("surprise: ")[1].split("\n")[0]
    start, end = float(line.split()[0]), float(line.split("first, ")[1].split()[0])
    fitted = {
        word.split()[0]: float(word.split()[1]) for word in output.split("fitted: ")[1].split("\n")[0].split(", ")
    }
    x, y = module.observations()
    params = {name: np.log(value) for name, value in fitted.items()}
    covariance = module.kernel(params, x, x) + fitted["noise"] ** 2 * np.eye(x.size)
    normal = pytest.importorskip("scipy.stats").multivariate_normal(cov=covariance)
    assert -normal.logpdf(y) == pytest.approx(end, abs=1e-3)
    assert end < start - 5
    steps = [{**params, name: params[name] + h} for name in params for h in (0.02, -0.02)]
    assert all(module.surprise(step, x, y) > end for step in steps)
    assert fitted["noise"] == pytest.approx(module.NOISE, rel=0.3)
    assert 70 <= float(output.split("observations: ")[1].split("%")[0]) <= 100
    check_drawn(tmp_path / "gaussian_process.png")


def test_demo(example, capsys, tmp_path, monkeypatch):
    """The demo's own steps; training is tested above, so it is short here."""
    module = example("demo")
    monkeypatch.setattr(module.exponential.train, "__defaults__", (1_000, 0))
    module.main(tmp_path)
    output = capsys.readouterr().out
    assert "graph loss(" in output
    assert "from=%" in output
    assert "proved" in output
    assert "refuted" not in output
    assert "[0.  0.5 1. ]" in output or "[0.  0.5 1.]" in output
    for name in ("demo_graph.png", "exponential_loss.png", "exponential_fit.png"):
        check_drawn(tmp_path / name)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_every_example_has_a_main_and_a_test(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert "\ndef main(" in source
    assert source.startswith('"""')
    assert f'example("{path.stem}")' in Path(__file__).read_text(encoding="utf-8")
