"""A composite function of three variables: its value, its gradient, and both drawn as graphs; then layers as functions.

z = (x1 - 2 x2 - 1)² + (x2 x3 - 1)² + 1

python examples/composite_function.py [FOLDER]     pictures go to FOLDER, by default out/
"""

import sys
from pathlib import Path

import numpy as np

import graphc
from graphc.inspection import draw


def h1(y1, y2):
    return y1**2 + y2**2 + 1


def h2(z1, z2):
    return z1 - 2 * z2 - 1


def h3(u1, u2):
    return u1 * u2 - 1


def z(x1, x2, x3):
    """The composition; helper functions leave no trace in the graph but their line numbers."""
    return h1(h2(x1, x2), h3(x2, x3))


def value_and_gradient():
    value, gradient = graphc.value_and_grad(z, argnums=(0, 1, 2))(1.0, 2.0, 3.0)
    print("z(1, 2, 3) =", value)
    print("dz/dx1, dz/dx2, dz/dx3 =", *gradient)


def pictures(folder):
    """The computational graph, without and with the derivatives."""
    folder.mkdir(parents=True, exist_ok=True)
    scalars = ["f64[]"] * 3
    forward = graphc.trace(z, *scalars)
    backward = graphc.compile(graphc.value_and_grad(z, argnums=(0, 1, 2)), *scalars).passes[-1].graph
    print(forward)
    print(backward)
    draw(forward, folder / "composite.png", title="z = (x1 − 2 x2 − 1)² + (x2 x3 − 1)² + 1")
    draw(backward, folder / "composite_derivatives.png", title="z and its three partial derivatives")
    print(f"pictures: {folder}/composite.png, {folder}/composite_derivatives.png")


def sine():
    x = np.array([-1, 0, 1], np.float32)
    y, pullback = graphc.vjp(np.sin, x)
    print("d sin / dx at -1, 0, 1:", pullback(np.ones_like(y))[0])


def linear(params, x):
    """A layer is a function of its parameters and its input; W has shape (out, in)."""
    return x @ params["W"].T + params["b"]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def layers():
    """What other frameworks call links and chains: functions and dicts of arrays, in any composition."""
    rng = np.random.default_rng(0)
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    layer = {"W": rng.normal(size=(4, 3)).astype(np.float32), "b": np.zeros(4, np.float32)}
    print("a linear layer from 3 to 4 on two rows:", linear(layer, x).shape)

    def chain(params, x):
        return linear(params["l2"], linear(params["l1"], x))

    def chain_with_sigmoid(params, x):
        return linear(params["l2"], sigmoid(linear(params["l1"], x)))

    params = {"l1": layer, "l2": {"W": rng.normal(size=(2, 4)).astype(np.float32), "b": np.zeros(2, np.float32)}}
    for f in (chain, chain_with_sigmoid):
        gradient = graphc.grad(lambda params, f=f: np.sum(f(params, x)))(params)
        print(f"the gradient of {f.__name__} by l2/b is {gradient['l2']['b']}")


def main(folder="out"):
    value_and_gradient()
    pictures(Path(folder))
    sine()
    layers()


if __name__ == "__main__":
    main(*sys.argv[1:])
