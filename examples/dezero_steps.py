"""The first steps of a framework built from scratch, done with graphs: chains, shared values, a test.

The steps follow chapters 6 to 16 of "Deep Learning from Scratch 3" (K. Saitoh, O'Reilly Japan): there a backward
pass is written by hand, then as a recursion, then as a loop that visits functions by generation. A static graph needs
none of the three: it is in topological order from the start.

    python examples/dezero_steps.py
"""

import unittest

import numpy as np

import graphc


def square(x):
    return x**2


def add(x, y):
    return x + y


def chain(x):
    return square(np.exp(square(x)))


def backward_by_hand(x):
    """Step 6: the chain rule written out, one factor after another."""
    a = square(x)
    b = np.exp(a)
    gb = 2 * b
    ga = np.exp(a) * gb
    return 2 * x * ga


def chains():
    """Steps 6 to 9: (exp(x²))² at 0.5."""
    print("by hand ", backward_by_hand(0.5))
    print("graphc  ", graphc.grad(chain)(0.5))
    # the steps between, too: expression style gives the gradient by every value on the way
    x = graphc.symbol("x", "f64[]")
    a = square(x)
    b = np.exp(a)
    y = square(b)
    f = graphc.compile([x], [y, *graphc.gradients(y, [b, a, x])])
    print("y, dy/db, dy/da, dy/dx:", *f(0.5))


def several_arguments():
    """Steps 11 to 13: functions of several arguments."""

    def f(x, y):
        return add(square(x), square(y))

    value, (gx, gy) = graphc.value_and_grad(f, argnums=(0, 1))(2.0, 3.0)
    print("add(square(2), square(3)):", value, gx, gy)


def the_same_variable_twice():
    """Step 14: contributions of every use add up; nothing has to be cleared between runs."""
    print("x + x:", graphc.grad(lambda x: add(x, x))(3.0))
    print("x + x + x:", graphc.grad(lambda x: add(add(x, x), x))(3.0))


def shared(x):
    a = square(x)
    return add(square(a), square(a))


def complex_graphs():
    """Steps 15 and 16: a shared value is differentiated once, after everything that uses it."""
    print("a = square(2), add(square(a), square(a)):", *graphc.value_and_grad(shared)(2.0))
    graph = graphc.compile(graphc.grad(shared), "f64[]").graph
    print("in topological order:", all(a < node for node in graph for a in graph.nodes[node]["args"]))


def numerical_diff(f, x, eps=1e-4):
    return (f(x + eps) - f(x - eps)) / (2 * eps)


class SquareTest(unittest.TestCase):
    """Step 10: tests of a function and its derivative."""

    def test_forward(self):
        assert graphc.jit(square)(np.array(2.0)) == 4.0

    def test_backward(self):
        assert graphc.grad(square)(np.array(3.0)) == 6.0

    def test_gradient_check(self):
        x = np.random.default_rng(0).random(1)[0]
        assert np.allclose(graphc.grad(square)(x), numerical_diff(square, x))

    def test_second_order(self):
        assert graphc.grad(graphc.grad(square))(3.0) == 2.0


def main():
    chains()
    several_arguments()
    the_same_variable_twice()
    complex_graphs()
    result = unittest.TextTestRunner(verbosity=0).run(unittest.defaultTestLoader.loadTestsFromTestCase(SquareTest))
    print("unit tests:", result.testsRun, "run,", len(result.failures) + len(result.errors), "failed")
    return result


if __name__ == "__main__":
    main()
