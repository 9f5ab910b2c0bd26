"""Variables and derivatives: values, gradients, gradients of intermediate values, and higher orders.

python examples/variables_and_derivatives.py
"""

import numpy as np

import graphc


def polynomial(x):
    return x**2 - 2 * x + 1


def first_derivative():
    """A derivative is a function again: `grad` takes a scalar function and gives one."""
    x = np.float32(5)
    print("y = x² - 2x + 1 at x = 5")
    print("  y     =", polynomial(x))
    print("  dy/dx =", graphc.grad(polynomial)(x))


def intermediate_value():
    """In expression style every value has a name, so a gradient can be taken by any of them."""
    x = graphc.symbol("x", "f32[]")
    z = 2 * x
    y = x**2 - z + 1
    dy_dx, dy_dz = graphc.gradients(y, [x, z])
    f = graphc.compile([x], [y, dy_dx, dy_dz])
    print("with z = 2x, y = x² - z + 1")
    print("  y, dy/dx, dy/dz =", *f(np.float32(5)))


def many_elements():
    """A function of arrays has a cotangent to pull back; ones give the derivative of each element."""
    x = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
    y, pullback = graphc.vjp(polynomial, x)
    (gx,) = pullback(np.ones_like(y))
    print("the same on an array, pulled back from ones")
    print(" ", gx.tolist())
    # accumulating is a plain sum: nothing is stored in the variables
    print("  twice, added up:", (gx + pullback(np.ones_like(y))[0]).tolist())


def cube(x):
    return x**3


def higher_orders():
    """Derivatives of derivatives, as far as you like."""
    x = np.array([[0, 2, 3], [4, 5, 6]], np.float32)
    first = graphc.grad(lambda x: np.sum(cube(x)))
    second = graphc.grad(lambda x: np.sum(first(x)))
    print("x³ on an array")
    print("  first ", first(x).tolist())
    print("  second", second(x).tolist())

    f, at_3 = cube, []
    for _ in range(3):
        f = graphc.grad(f)
        at_3.append(f(3.0).item())
    print("  at 3, three times:", at_3)

    _, pullback = graphc.vjp(cube, 3.0)
    print("  at 3, pulled back from 2:", pullback(2.0)[0])


def main():
    first_derivative()
    intermediate_value()
    many_elements()
    higher_orders()


if __name__ == "__main__":
    main()
