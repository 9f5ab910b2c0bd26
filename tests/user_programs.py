"""NumPy programs as people write them: statistics, models, physics, signals, finance, control.

Each is a function of arrays to a scalar in plain NumPy and SciPy. The tests trace it, run it and differentiate it.
"""

# ruff: noqa: E731

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from scipy import special

Draw = Callable[[np.random.Generator], Any]


@dataclass(frozen=True, slots=True)
class UserProgram:
    """A function and its arguments."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]

    @property
    def name(self) -> str:
        return self.function.__name__

    @property
    def floats(self) -> tuple[int, ...]:
        """The positions of the arguments to differentiate by."""
        return tuple(k for k, a in enumerate(self.arguments) if np.asarray(a).dtype.kind == "f")


PROGRAMS: Final[list[UserProgram]] = []


def program(*data: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """List a function; its arguments are drawn by `normal` and `unit`, or as given."""

    def listed(f: Callable[..., Any]) -> Callable[..., Any]:
        rng = np.random.default_rng(len(PROGRAMS))
        PROGRAMS.append(UserProgram(f, tuple(d(rng) if callable(d) else d for d in data)))
        return f

    return listed


def normal(*shape: int, scale: float = 1) -> Draw:
    return lambda rng: scale * rng.normal(size=shape)


def unit(*shape: int, scale: float = 1) -> Draw:
    return lambda rng: scale * rng.uniform(0.1, 0.9, size=shape)


@program(normal(8), 0.3, 1.2)
def gauss_nll(x: Any, mu: Any, sigma: Any) -> Any:
    return 0.5 * np.sum(((x - mu) / sigma) ** 2) + x.size * np.log(sigma) + 0.5 * x.size * np.log(2 * np.pi)


@program(normal(10), 3.5, 0.2, 1.1)
def student_t(x: Any, nu: Any, mu: Any, s: Any) -> Any:
    z = (x - mu) / s
    return np.sum(
        special.gammaln((nu + 1) / 2)
        - special.gammaln(nu / 2)
        - 0.5 * np.log(nu * np.pi)
        - np.log(s)
        - (nu + 1) / 2 * np.log1p(z**2 / nu)
    )


@program(unit(7), 2.0, 3.0)
def beta_ll(x: Any, a: Any, b: Any) -> Any:
    return np.sum((a - 1) * np.log(x) + (b - 1) * np.log1p(-x)) - x.size * (
        special.gammaln(a) + special.gammaln(b) - special.gammaln(a + b)
    )


@program(normal(9))
def skew(x: Any) -> Any:
    m = np.mean(x)
    s = np.std(x)
    return np.mean(((x - m) / s) ** 3)


@program(normal(10), normal(10))
def pearson(x: Any, y: Any) -> Any:
    xm = x - x.mean()
    ym = y - y.mean()
    return (xm * ym).sum() / np.sqrt((xm**2).sum() * (ym**2).sum())


@program(normal(10, 3))
def corr(x: Any) -> Any:
    return np.sum(np.corrcoef(x, rowvar=False) ** 2)


@program(normal(7), unit(7))
def wmean(x: Any, w: Any) -> Any:
    return np.average(x, weights=w)


@program(normal(20))
def trimmed(x: Any) -> Any:
    s = np.sort(x)
    return np.mean(s[2:-2])


@program(normal(11))
def iqr(x: Any) -> Any:
    return np.percentile(x, 75) - np.percentile(x, 25)


@program(normal(6, 2), normal(3, 2), normal(3), normal(3))
def gmm(x: Any, mu: Any, logw: Any, logs: Any) -> Any:
    lw = logw - np.log(np.sum(np.exp(logw)))
    d2 = np.sum((x[:, None, :] - mu[None]) ** 2, axis=-1)
    lp = lw - 0.5 * d2 * np.exp(-2 * logs) - 2 * logs
    m = lp.max(axis=1, keepdims=True)
    return np.sum(np.log(np.sum(np.exp(lp - m), axis=1)) + m[:, 0])


@program(normal(12), 0.5)
def kde(x: Any, h: Any) -> Any:
    g = np.linspace(-2, 2, 9)
    return np.sum(np.log(np.mean(np.exp(-0.5 * ((g[:, None] - x) / h) ** 2), axis=1) / (h * np.sqrt(2 * np.pi))))


@program(normal(8), normal(3))
def autocov(x: Any, w: Any) -> Any:
    xc = x - np.mean(x)
    return sum(w[k] * np.mean(xc[k + 1 :] * xc[: -k - 1]) for k in range(3))


@program(normal(5, 5))
def mantel(x: Any) -> Any:
    d = np.sqrt(np.sum((x[:, None] - x[None]) ** 2, axis=-1) + 1e-12)
    iu = np.triu_indices(5, 1)
    return np.sum(np.log(d[iu]))


@program(normal(6))
def gini(x: Any) -> Any:
    x = np.exp(x)
    s = np.sort(x)
    n = len(x)
    i = np.arange(1, n + 1)
    return np.sum((2 * i - n - 1) * s) / (n * np.sum(s))


@program(unit(4, 4))
def chi2(o: Any) -> Any:
    e = o.sum(0) * o.sum(1)[:, None] / o.sum()
    return ((o - e) ** 2 / e).sum()


@program(normal(6), 0.7)
def ar1(x: Any, phi: Any) -> Any:
    return -0.5 * np.sum((x[1:] - phi * x[:-1]) ** 2) + 0.5 * np.log(1 - phi**2)


@program(normal(12), 0.1, 0.1, 0.8)
def garch(r: Any, om: Any, al: Any, be: Any) -> Any:
    s2 = np.var(r)
    ll = 0.0
    for t in range(len(r)):
        ll = ll - 0.5 * (np.log(s2) + r[t] ** 2 / s2)
        s2 = om + al * r[t] ** 2 + be * s2
    return ll


@program(unit(3, 3), unit(3, 2), unit(3))
def hmm(A: Any, B: Any, pi: Any) -> Any:
    A = A / A.sum(1, keepdims=True)
    B = B / B.sum(1, keepdims=True)
    pi = pi / pi.sum()
    a = pi * B[:, 0]
    for o in (1, 0, 1, 1):
        a = (a @ A) * B[:, o]
    return np.log(a.sum())


@program(normal(3, 3), normal(3, 2), normal(3))
def hmm_log(A: Any, B: Any, p: Any) -> Any:
    lse = lambda v, axis=None: np.log(np.sum(np.exp(v - np.max(v)), axis=axis)) + np.max(v)
    a = p + B[:, 0]
    for o in (1, 0, 1):
        a = lse(a[:, None] + A, axis=0) + B[:, o]
    return lse(a)


@program(normal(8, 2), normal(2), np.array([1, 0, 1, 1, 0, 1, 0, 0]))
def logistic_reg(X: Any, w: Any, y: Any) -> Any:
    z = X @ w
    return -np.sum(y * np.log(1 / (1 + np.exp(-z))) + (1 - y) * np.log(1 - 1 / (1 + np.exp(-z))))


@program(normal(8, 2), normal(2), np.array([1, 0, 3, 1, 0, 2, 0, 0]))
def poisson_reg(X: Any, w: Any, y: Any) -> Any:
    return np.sum(np.exp(X @ w) - y * (X @ w))


@program(normal(8, 3), normal(3, 4), np.array([1, 0, 3, 1, 0, 2, 0, 0]))
def softmax_reg(X: Any, W: Any, y: Any) -> Any:
    z = X @ W
    z = z - z.max(axis=1, keepdims=True)
    lp = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    return -np.mean(lp[np.arange(8), y])


@program(normal(8), normal(8), 0.3)
def quantile_loss(y: Any, f: Any, tau: Any) -> Any:
    e = y - f
    return np.mean(np.maximum(tau * e, (tau - 1) * e))


@program(normal(4, 5), normal(5, 6), normal(6), normal(6, 3), normal(3))
def mlp(x: Any, W1: Any, b1: Any, W2: Any, b2: Any) -> Any:
    h = np.maximum(x @ W1 + b1, 0)
    o = h @ W2 + b2
    p = np.exp(o - o.max(-1, keepdims=True))
    p = p / p.sum(-1, keepdims=True)
    return -np.mean(np.log(p[:, 0]))


@program(normal(4, 5), normal(5, 6), normal(6), normal(6), normal(6))
def layernorm(x: Any, W: Any, b: Any, g: Any, be: Any) -> Any:
    h = x @ W + b
    mu = h.mean(-1, keepdims=True)
    var = h.var(-1, keepdims=True)
    return np.sum(np.sin(g * (h - mu) / np.sqrt(var + 1e-5) + be))


@program(normal(2, 5, 8), normal(8, 8), normal(8, 8), normal(8, 8))
def mha(x: Any, Wq: Any, Wk: Any, Wv: Any) -> Any:
    B, T, D = x.shape
    H = 2
    sp = lambda z: z.reshape(B, T, H, D // H).transpose(0, 2, 1, 3)
    q, k, v = sp(x @ Wq), sp(x @ Wk), sp(x @ Wv)
    s = q @ k.swapaxes(-1, -2) / np.sqrt(D // H)
    s = np.where(np.triu(np.ones((T, T), dtype=bool), 1), -np.inf, s)
    a = np.exp(s - np.max(s, axis=-1, keepdims=True))
    a /= np.sum(a, axis=-1, keepdims=True)
    return np.sum(np.sin((a @ v).transpose(0, 2, 1, 3).reshape(B, T, D)))


@program(normal(5))
def swish(x: Any) -> Any:
    return np.sum(x / (1 + np.exp(-x)))


@program(normal(5))
def mish(x: Any) -> Any:
    return np.sum(x * np.tanh(np.log1p(np.exp(x))))


@program(normal(5), np.array([1.0, 0, 1, 0, 1]))
def focal(x: Any, y: Any) -> Any:
    p = 1 / (1 + np.exp(-x))
    pt = np.where(y == 1, p, 1 - p)
    return -np.mean((1 - pt) ** 2 * np.log(pt))


@program(normal(4, 3), normal(4, 3))
def infonce(a: Any, b: Any) -> Any:
    a = a / np.linalg.norm(a, axis=1, keepdims=True)
    b = b / np.linalg.norm(b, axis=1, keepdims=True)
    s = a @ b.T / 0.1
    return -np.mean(np.diag(s) - np.log(np.sum(np.exp(s), axis=1)))


@program(normal(3, 4), normal(4, 4), normal(4, 4), normal(4))
def rnn(xs: Any, Wx: Any, Wh: Any, b: Any) -> Any:
    h = np.zeros(4)
    for x in xs:
        h = np.tanh(x @ Wx + h @ Wh + b)
    return np.sum(h**2)


@program(normal(3, 2), normal(2, 16), normal(4, 16), normal(16))
def lstm(xs: Any, Wx: Any, Wh: Any, b: Any) -> Any:
    sig = lambda z: 1 / (1 + np.exp(-z))
    h = np.zeros(4)
    c = np.zeros(4)
    for t in range(3):
        z = xs[t] @ Wx + h @ Wh + b
        i, f, g, o = np.split(z, 4)
        c = sig(f) * c + sig(i) * np.tanh(g)
        h = sig(o) * np.tanh(c)
    return np.sum(h)


@program(normal(1, 6, 6), normal(2, 3, 3))
def conv_loops(x: Any, w: Any) -> Any:
    out = np.stack([sum(x[0, i : i + 4, j : j + 4] * w[c, i, j] for i in range(3) for j in range(3)) for c in range(2)])
    return np.sum(np.maximum(out, 0) ** 2)


@program(normal(6, 6))
def maxpool(x: Any) -> Any:
    return np.sum(np.sin(x.reshape(3, 2, 3, 2).max(axis=(1, 3))))


@program(normal(10, 4), np.array([1, 3, 3, 0]))
def embed(E: Any, idx: Any) -> Any:
    return np.sum(np.tanh(E[idx]) @ np.arange(4.0))


@program(normal(4), normal(4), 0.3)
def vae_kl(mu: Any, logvar: Any, beta: Any) -> Any:
    return -0.5 * beta * np.sum(1 + logvar - mu**2 - np.exp(logvar))


@program(normal(6), normal(6))
def sinkhorn(a: Any, b: Any) -> Any:
    C = (a[:, None] - b) ** 2
    K = np.exp(-C / 0.5)
    u = np.ones(6) / 6
    r = np.ones(6) / 6
    for _ in range(5):
        v = r / (K.T @ u)
        u = r / (K @ v)
    return np.sum(u[:, None] * K * v * C)


@program(normal(4, 3), normal(3))
def moe(x: Any, g: Any) -> Any:
    w = np.exp(x * g)
    w = w / w.sum(1, keepdims=True)
    top = np.argmax(w, axis=1)
    return np.sum(w[np.arange(4), top] * np.take_along_axis(x, top[:, None], axis=1)[:, 0])


@program(normal(8, 8))
def tv(x: Any) -> Any:
    return np.sum(np.sqrt(np.diff(x, axis=0)[:, :-1] ** 2 + np.diff(x, axis=1)[:-1] ** 2 + 1e-8))


@program(normal(4, 3), unit(4))
def nbody(r: Any, m: Any) -> Any:
    d = r[:, None] - r[None]
    dist = np.sqrt((d**2).sum(-1) + 0.01)
    return -0.5 * np.sum(m[:, None] * m[None] / dist * (1 - np.eye(4)))


@program(normal(4, 3, scale=3))
def lj(r: Any) -> Any:
    i, j = np.triu_indices(4, 1)
    d = np.linalg.norm(r[i] - r[j], axis=1)
    return np.sum(4 * ((1 / d) ** 12 - (1 / d) ** 6))


@program(0.3, 0.1)
def pendulum(th: Any, w: Any) -> Any:
    for _ in range(10):
        w = w - 0.1 * np.sin(th)
        th = th + 0.1 * w
    return th**2 + w


@program(np.array([1.0, 1.0, 1.0]))
def lorenz_stack(s: Any) -> Any:
    def f(s):
        return np.stack([10 * (s[1] - s[0]), s[0] * (28 - s[2]) - s[1], s[0] * s[1] - 8 / 3 * s[2]])

    for _ in range(5):
        k1 = f(s)
        k2 = f(s + 0.005 * k1)
        k3 = f(s + 0.005 * k2)
        k4 = f(s + 0.01 * k3)
        s = s + 0.01 / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return np.sum(s)


@program(normal(8))
def heat(u: Any) -> Any:
    for _ in range(4):
        u = u + 0.1 * (np.roll(u, 1) - 2 * u + np.roll(u, -1))
    return np.sum(u**4)


@program(normal(3), normal(3), normal(3), normal(3))
def dihedral(a: Any, b: Any, c: Any, d: Any) -> Any:
    b0 = a - b
    b1 = c - b
    b2 = d - c
    b1 = b1 / np.linalg.norm(b1)
    v = b0 - np.dot(b0, b1) * b1
    w = b2 - np.dot(b2, b1) * b1
    return np.arctan2(np.dot(np.cross(b1, v), w), np.dot(v, w))


@program(normal(3))
def rodrigues(w: Any) -> Any:
    t = np.sqrt(w @ w)
    k = w / t
    K = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 0]])
    return np.sum(np.sin(t) * k + (1 - np.cos(t)) * (K @ k))


@program(0.5, 2.0, 1.1)
def kepler(M: Any, e0: Any, x: Any) -> Any:
    e = e0 / 4
    E = M
    for _ in range(6):
        E = E - (E - e * np.sin(E) - M) / (1 - e * np.cos(E))
    return np.cos(E) * x


@program(unit(6), 1.5)
def planck(x: Any, T: Any) -> Any:
    return np.sum(x**3 / (np.exp(x / T) - 1))


@program(normal(6), 0.7)
def partition(E: Any, b: Any) -> Any:
    Z = np.sum(np.exp(-b * E))
    return np.log(Z) + b * np.sum(E * np.exp(-b * E)) / Z


@program(normal(9), 0.1)
def trapz(y: Any, dx: Any) -> Any:
    return np.trapezoid(y**2, dx=dx)


@program(normal(5), 0.3)
def horner(c: Any, x: Any) -> Any:
    r = 0.0
    for a in c:
        r = r * x + a
    return r


@program(normal(8), normal(3))
def fir(x: Any, h: Any) -> Any:
    return np.sum(np.convolve(x, h, mode="same") ** 2)


@program(normal(8), 0.3)
def ema(x: Any, a: Any) -> Any:
    s = x[0]
    tot = 0.0
    for v in x[1:]:
        s = a * v + (1 - a) * s
        tot = tot + s**2
    return tot


@program(normal(8))
def dct(x: Any) -> Any:
    n = np.arange(8)
    return np.sum(np.abs(np.cos(np.pi / 8 * (n + 0.5) * n[:, None]) @ x))


@program(100.0, 95.0, 0.02, 0.3, 0.7)
def black_scholes(S: Any, K: Any, r: Any, sig: Any, T: Any) -> Any:
    d1 = (np.log(S / K) + (r + sig**2 / 2) * T) / (sig * np.sqrt(T))
    d2 = d1 - sig * np.sqrt(T)
    return S * special.ndtr(d1) - K * np.exp(-r * T) * special.ndtr(d2)


@program(100.0, 0.3, normal(6))
def mc_call(S: Any, sig: Any, z: Any) -> Any:
    ST = S * np.exp(-0.5 * sig**2 + sig * z)
    return np.mean(np.maximum(ST - 100, 0))


@program(unit(3), 0.02)
def nelson(b: Any, t: Any) -> Any:
    x = np.array([1.0, 2.0, 5.0, 10.0])
    scale = 1.5
    return np.sum(
        b[0]
        + b[1] * (1 - np.exp(-x / scale)) / (x / scale)
        + b[2] * ((1 - np.exp(-x / scale)) / (x / scale) - np.exp(-x / scale))
    )


@program(0.5, 0.3, 0.04, normal(5))
def heston_step(kappa: Any, xi: Any, v: Any, z: Any) -> Any:
    s = 0.0
    for e in z:
        v = np.maximum(v + kappa * (0.04 - v) * 0.1 + xi * np.sqrt(np.maximum(v, 0) * 0.1) * e, 0)
        s = s + v
    return s


@program(normal(5), normal(2, 2), unit(2))
def kalman(y: Any, A: Any, q: Any) -> Any:
    x = np.zeros(2)
    Pm = np.eye(2)
    H = np.array([[1.0, 0.0]])
    ll = 0.0
    A = 0.5 * A
    for t in range(5):
        x = A @ x
        Pm = A @ Pm @ A.T + np.diag(q)
        S = (H @ Pm @ H.T)[0, 0] + 0.1
        Kk = (Pm @ H.T)[:, 0] / S
        e = y[t] - (H @ x)[0]
        x = x + Kk * e
        Pm = Pm - np.outer(Kk, Kk) * S
        ll = ll - 0.5 * (np.log(S) + e**2 / S)
    return ll


@program(normal(2), normal(1, 2))
def lqr(x: Any, K: Any) -> Any:
    A = np.array([[1.0, 0.1], [0.0, 1.0]])
    B = np.array([0.0, 0.1])
    c = 0.0
    for _ in range(5):
        u = -(K @ x)[0]
        c = c + x @ x + 0.1 * u**2
        x = A @ x + B * u
    return c


@program(normal(4, 4), normal(4))
def power_iter(A: Any, v: Any) -> Any:
    for _ in range(5):
        v = A @ v
        v = v / np.linalg.norm(v)
    return v @ A @ v


@program(normal(3, 3))
def expm_taylor(A: Any) -> Any:
    T = np.eye(3)
    S = np.eye(3)
    for k in range(1, 8):
        T = T @ A / k
        S = S + T
    return np.sum(S)


@program(normal(4), normal(4))
def cg(b: Any, d: Any) -> Any:
    A = np.diag(np.exp(d))
    x = np.zeros(4)
    r = b - A @ x
    p = r
    for _ in range(3):
        a = (r @ r) / (p @ A @ p)
        x = x + a * p
        rn = r - a * (A @ p)
        p = rn + (rn @ rn) / (r @ r) * p
        r = rn
    return x @ x


@program(normal(2, 3), normal(4, 5))
def kron(a: Any, b: Any) -> Any:
    return np.sum(np.kron(a, b) ** 2)


@program(normal(5))
def selectp(x: Any) -> Any:
    return np.sum(np.select([x < -1, x < 1], [-x, x**2], 2 * x - 1))


@program(normal(6))
def meshp(x: Any) -> Any:
    X, Y = np.meshgrid(x, x)
    return np.sum(np.exp(-((X - Y) ** 2)))


@program(unit(6))
def specials(x: Any) -> Any:
    return np.sum(
        special.gammaln(x)
        + special.psi(x)
        + special.logit(x)
        + special.xlogy(x, x)
        + special.erfinv(x)
        + special.ndtri(x)
        + special.entr(x)
    )


@program(normal(4, 2))
def bezier(p: Any) -> Any:
    t = np.linspace(0, 1, 5)[:, None]
    b = (1 - t) ** 3 * p[0] + 3 * (1 - t) ** 2 * t * p[1] + 3 * (1 - t) * t**2 * p[2] + t**3 * p[3]
    return np.sum(np.linalg.norm(np.diff(b, axis=0), axis=1))


@program(normal(3, 3), normal(5, 3), normal(3))
def camera(Rm: Any, X: Any, t: Any) -> Any:
    Y = X @ Rm.T + t + np.array([0, 0, 8.0])
    uv = Y[:, :2] / Y[:, 2:3]
    return np.sum(uv**2)
