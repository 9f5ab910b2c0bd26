"""What of `scipy.special` and `scipy.linalg` cannot be traced, by subject: what to write instead, or what is missing.

The texts stand in the errors that refuse these functions and in docs/numpy-support.md; a test finds every public
function of the two modules here or among those that can be traced.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final

from graphc.errors import UnsupportedError
from graphc.numpy.alternatives import Refused
from graphc.tracing import user_locs


def _all(names: str, text: str) -> dict[str, str]:
    return dict.fromkeys(names.split(), text)


ZEROS: Final = "its arguments are numbers known in advance; call SciPy's own"
COMPLEX: Final = "complex numbers cannot be traced yet"
POLYNOMIAL: Final = "eval_chebyt, eval_legendre and their kin give its values at traced points"
GAMMA: Final = "gammaln and exp: "
NO_RECORD: Final = "its derivative has no record yet"
FACTORS: Final = "this factorisation cannot be traced yet; cholesky, qr, svd and eigh can"
EIGEN: Final = "eigenvalues may be complex, which cannot be traced yet; of symmetric matrices: eigh"
RANK: Final = "the size of a result depends on the rank"
FUNCTION: Final = "functions of matrices cannot be traced yet"

# In place of functions of other modules.
ELSEWHERE: Final[dict[str, str]] = {
    "stats.rv_continuous": "its formula, for the normal one's scipy.special.ndtr, log_ndtr and ndtri",
    "stats.zscore": "(x - x.mean(axis=0)) / x.std(axis=0)",
    "integrate.trapezoid": "np.trapezoid",
    "integrate.simpson": "np.sum with Simpson's weights, or np.trapezoid",
    "integrate.cumulative_trapezoid": "np.cumsum of (y[1:] + y[:-1]) / 2 times the steps",
    "signal.convolve": "np.convolve",
    "signal.correlate": "np.correlate",
    "spatial.distance.cdist": "np.linalg.norm(a[:, None] - b, axis=-1)",
}

SPECIAL: Final[dict[str, Refused]] = {
    "Gamma and beta functions": Refused(
        {
            "beta": f"{GAMMA}exp(gammaln(a) + gammaln(b) - gammaln(a + b))",
            "betaln": "gammaln(a) + gammaln(b) - gammaln(a + b)",
            "binom": f"{GAMMA}exp(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1))",
            "comb": f"{GAMMA}exp(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1))",
            "perm": f"{GAMMA}exp(gammaln(n + 1) - gammaln(n - k + 1))",
            "poch": f"{GAMMA}exp(gammaln(z + m) - gammaln(z))",
            "rgamma": "1 / gamma(x), away from the poles",
            "factorial2": "factorial, or gamma",
            "factorialk": "factorial, or gamma",
            "stirling2": ZEROS,
            "zetac": "zeta(x, 1) - 1, for a whole x known in advance",
        },
        _all("betainc betaincc betaincinv betainccinv gammainc gammaincc gammaincinv gammainccinv", NO_RECORD),
    ),
    "Bessel functions and their kin": Refused(
        _all(
            "ai_zeros bi_zeros bei_zeros beip_zeros ber_zeros berp_zeros jn_zeros jnjnp_zeros jnp_zeros jnyn_zeros "
            "kei_zeros keip_zeros kelvin_zeros ker_zeros kerp_zeros y0_zeros y1_zeros y1p_zeros yn_zeros ynp_zeros",
            ZEROS,
        )
        | _all("hankel1 hankel1e hankel2 hankel2e h1vp h2vp", COMPLEX),
        _all(
            "airy airye bei beip ber berp besselpoly it2i0k0 it2j0y0 it2struve0 itairy iti0k0 itj0y0 itmodstruve0 "
            "itstruve0 kei keip kelvin ker kerp lmbda modstruve riccati_jn riccati_yn spherical_in spherical_kn "
            "spherical_yn struve wright_bessel log_wright_bessel y0 y1 yn yv yve yvp",
            NO_RECORD,
        ),
    ),
    "Error functions, integrals and the normal distribution": Refused(
        _all("erf_zeros fresnel_zeros fresnelc_zeros fresnels_zeros", ZEROS)
        | _all("modfresnelm modfresnelp wofz", COMPLEX)
        | {"expi": "-exp1(-x), for x < 0"},
        _all("expn kolmogi kolmogorov ndtri_exp owens_t shichi sici smirnov smirnovi spence voigt_profile", NO_RECORD),
    ),
    "Distribution functions": Refused(
        not_yet=_all(
            "bdtr bdtrc bdtri bdtrik bdtrin btdtria btdtrib chdtr chdtrc chdtri chdtriv chndtr chndtridf chndtrinc "
            "chndtrix fdtr fdtrc fdtri fdtridfd gdtr gdtrc gdtria gdtrib gdtrix nbdtr nbdtrc nbdtri nbdtrik nbdtrin "
            "ncfdtr ncfdtri ncfdtridfd ncfdtridfn ncfdtrinc nctdtr nctdtridf nctdtrinc nctdtrit nrdtrimn nrdtrisd "
            "pdtr pdtrc pdtri pdtrik stdtr stdtridf stdtrit tklmbda btdtr btdtri",
            NO_RECORD,
        )
    ),
    "Elliptic functions": Refused(
        _all("ellip_harm ellip_harm_2 ellip_normal", ZEROS),
        _all(
            "ellipe ellipeinc ellipj ellipk ellipkinc ellipkm1 elliprc elliprd elliprf elliprg elliprj agm",
            NO_RECORD,
        ),
    ),
    "Orthogonal polynomials": Refused(
        _all(
            "assoc_laguerre chebyc chebys chebyt chebyu gegenbauer genlaguerre hermite hermitenorm jacobi laguerre "
            "legendre sh_chebyt sh_chebyu sh_jacobi sh_legendre",
            POLYNOMIAL,
        )
        | _all(
            "c_roots cg_roots h_roots he_roots j_roots js_roots l_roots la_roots p_roots ps_roots s_roots t_roots "
            "ts_roots u_roots us_roots roots_chebyc roots_chebys roots_chebyt roots_chebyu roots_gegenbauer "
            "roots_genlaguerre roots_hermite roots_hermitenorm roots_jacobi roots_laguerre roots_legendre "
            "roots_sh_chebyt roots_sh_chebyu roots_sh_jacobi roots_sh_legendre",
            ZEROS,
        ),
        _all(
            "assoc_legendre_p assoc_legendre_p_all legendre_p legendre_p_all lpmv lqmn lqn lpmn lpn clpmn sph_harm "
            "sph_harm_y sph_harm_y_all sph_legendre_p sph_legendre_p_all",
            NO_RECORD,
        ),
    ),
    "Other functions": Refused(
        _all("bernoulli euler", ZEROS) | {"lambertw": COMPLEX, "wrightomega": COMPLEX},
        _all(
            "diric hyp0f1 hyp1f1 hyp2f1 hyperu mathieu_a mathieu_b mathieu_cem mathieu_even_coef mathieu_modcem1 "
            "mathieu_modcem2 mathieu_modsem1 mathieu_modsem2 mathieu_odd_coef mathieu_sem obl_ang1 obl_ang1_cv obl_cv "
            "obl_cv_seq obl_rad1 obl_rad1_cv obl_rad2 obl_rad2_cv pbdn_seq pbdv pbdv_seq pbvv pbvv_seq pbwa pro_ang1 "
            "pro_ang1_cv pro_cv pro_cv_seq pro_rad1 pro_rad1_cv pro_rad2 pro_rad2_cv",
            NO_RECORD,
        ),
    ),
}

LINALG: Final[dict[str, Refused]] = {
    "Linear systems": Refused(
        {
            "lstsq": f"{RANK}; pinv(a) @ b is its first result",
            "lu_solve": "solve: systems with one matrix share its factorisation when they run",
            "pinvh": "pinv",
            "cho_solve_banded": "solveh_banded(ab, b), which factors ab itself",
            "solve_circulant": "solve(circulant(c), b)",
            **_all("null_space orth subspace_angles", f"{RANK}; svd has the vectors"),
        },
        _all(
            "solve_continuous_are solve_continuous_lyapunov solve_discrete_are solve_discrete_lyapunov "
            "solve_lyapunov solve_sylvester matrix_balance orthogonal_procrustes",
            NO_RECORD,
        ),
    ),
    "Factorisations": Refused(
        {"lu_factor": "solve: systems with one matrix share its factorisation when they run"},
        _all(
            "cholesky_banded cossin hessenberg ldl lu ordqz polar qr_delete qr_insert qr_multiply qr_update qz rq "
            "rsf2csf schur interpolative",
            FACTORS,
        ),
    ),
    "Eigenvalues": Refused(
        {},
        _all("cdf2rdf eig eigvals", EIGEN)
        | _all("eig_banded eigh_tridiagonal eigvals_banded eigvalsh_tridiagonal", "eigh of the whole matrix serves"),
    ),
    "Functions of matrices": Refused(
        {},
        _all(
            "coshm cosm expm expm_cond expm_frechet fractional_matrix_power funm logm signm sinhm sinm sqrtm tanhm "
            "tanm",
            FUNCTION,
        ),
    ),
    "Structure and other questions": Refused(
        {
            "bandwidth": "what it asks depends on values; call it on the matrix before the trace",
            "clarkson_woodruff_transform": "draw the sketch before the trace and multiply by it",
            "fiedler_companion": "companion has the same eigenvalues",
            "kron": "np.kron(a, b)",
        }
    ),
}

# SciPy's own that traced code may call as they are: they take numbers known in advance.
PLAIN: Final[dict[str, Mapping[str, tuple[str, ...]]]] = {
    "special": {
        "Settings and errors": (
            "SpecialFunctionError",
            "SpecialFunctionWarning",
            "errstate",
            "geterr",
            "seterr",
            "test",
        )
    },
    "linalg": {
        "Matrices of numbers": ("dft", "hadamard", "helmert", "hilbert", "invhilbert", "invpascal", "pascal"),
        "Errors and libraries": (
            *("LinAlgError", "LinAlgWarning", "find_best_blas_type", "get_blas_funcs", "get_lapack_funcs", "test"),
        ),
    },
}
TABLES: Final = {"special": SPECIAL, "linalg": LINALG}


def advice(module: str, name: str) -> str:
    """What to write in place of one of SciPy's functions."""
    for refused in TABLES[module].values():
        if name in refused.instead:
            return refused.instead[name]
        if name in refused.not_yet:
            return f"{refused.not_yet[name]}; or call SciPy's own on plain arrays before the trace"
    return f"graphc.scipy.{module}.{name}, if it is there; or call SciPy's own on plain arrays before the trace"


def instead_of(module: str, name: str) -> str:
    """What to write in place of a function that SciPy has computed on traced values in vain."""
    if module not in TABLES:
        other = ELSEWHERE.get(f"{module}.{name}")
        callback = "graphc.pure_callback, which calls it as the graph runs, without derivatives"
        return f"{callback}; or call it before the trace" if other is None else f"{other}; or {callback}"
    ours = import_module("graphc.scipy.special" if module == "special" else "graphc.scipy.linalg")
    return f"graphc.scipy.{module}.{name}" if name in ours.__all__ else advice(module, name)


def unsupported(module: str, name: str) -> UnsupportedError:
    """The refusal of one of SciPy's functions by name."""
    return UnsupportedError(
        f"scipy.{module}.{name} cannot be traced",
        expected=f"a function of graphc.scipy.{module}",
        actual=f"scipy.{module}.{name}",
        loc=(user_locs() or (None,))[0],
        fix=advice(module, name),
    )


def outside_of(module: str, name: str) -> Any:
    """What a module of `graphc.scipy` gives for a name of SciPy's that it has no version of."""
    value = getattr(import_module(f"scipy.{module}"), name)
    plain = any(name in names for names in PLAIN[module].values())
    if callable(value) and not inspect.ismodule(value) and not plain:
        raise unsupported(module, name)
    return value
