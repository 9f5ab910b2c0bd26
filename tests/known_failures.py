"""Rows of the tables that are known to fail, each with what is wrong. They shall pass; then their line goes."""

from __future__ import annotations

from typing import Final

ARGUMENTS: Final = "a bad argument that NumPy refuses is not refused in the same words, or not at all"
EMPTY: Final = "a kernel gives the identity of max and min where NumPy raises for an empty range of a named size"
ROUNDING: Final = "compared bit for bit, but a kernel rounds once otherwise than NumPy"
OPEN: Final = "fails since the branches were joined"

KNOWN: Final[dict[str, str]] = {
    "tests/test_doctests.py::test_examples[graphc.random]": ROUNDING,
    "tests/test_every_callable.py::test_functions_that_can_be_traced[sort]": ARGUMENTS,
    "tests/test_every_callable.py::test_functions_that_can_be_traced[argsort]": ARGUMENTS,
    "tests/test_every_callable.py::test_functions_that_can_be_traced[array]": ARGUMENTS,
    "tests/test_every_callable.py::test_functions_that_can_be_traced[asarray]": ARGUMENTS,
    "tests/test_every_callable.py::test_functions_that_can_be_traced[asanyarray]": ARGUMENTS,
    "tests/test_every_callable.py::test_functions_that_can_be_traced[ascontiguousarray]": ARGUMENTS,
    "tests/test_every_callable.py::test_functions_that_can_be_traced[asfortranarray]": ARGUMENTS,
    "tests/test_every_callable.py::test_functions_that_can_be_traced[require]": ARGUMENTS,
    "tests/test_every_callable.py::test_functions_that_can_be_traced[astype]": ARGUMENTS,
    "tests/test_every_callable.py::test_functions_that_can_be_traced[copy]": ARGUMENTS,
    "tests/test_every_callable.py::test_functions_that_can_be_traced[zeros_like]": ARGUMENTS,
    "tests/test_every_callable.py::test_functions_that_can_be_traced[ones_like]": ARGUMENTS,
    "tests/test_every_callable.py::test_functions_that_can_be_traced[empty_like]": ARGUMENTS,
    "tests/test_every_callable.py::test_functions_that_can_be_traced[full_like]": ARGUMENTS,
    "tests/test_every_callable.py::test_functions_that_can_be_traced[empty]": ARGUMENTS,
    "tests/test_every_callable.py::test_functions_that_can_be_traced[full]": ARGUMENTS,
    "tests/test_every_callable.py::test_functions_that_can_be_traced[arange]": ARGUMENTS,
    "tests/test_every_callable.py::test_functions_that_can_be_traced[linspace]": ARGUMENTS,
    "tests/test_every_callable.py::test_functions_that_can_be_traced[eye]": ARGUMENTS,
    "tests/test_every_callable.py::test_functions_that_can_be_traced[identity]": ARGUMENTS,
    "tests/test_every_callable.py::test_functions_that_can_be_traced[tri]": ARGUMENTS,
    "tests/test_every_callable.py::test_functions_that_can_be_traced[reshape]": ARGUMENTS,
    "tests/test_every_callable.py::test_functions_that_can_be_traced[shape]": ARGUMENTS,
    "tests/test_every_callable.py::test_functions_that_can_be_traced[size]": ARGUMENTS,
    "tests/test_every_callable.py::test_functions_that_can_be_traced[concatenate]": ARGUMENTS,
    "tests/test_every_callable.py::test_functions_that_can_be_traced[concat]": ARGUMENTS,
    "tests/test_every_callable.py::test_functions_that_can_be_traced[stack]": ARGUMENTS,
    "tests/test_every_callable.py::test_functions_that_can_be_traced[vstack]": ARGUMENTS,
    "tests/test_every_callable.py::test_functions_that_can_be_traced[hstack]": ARGUMENTS,
    "tests/test_every_callable.py::test_functions_that_can_be_traced[row_stack]": ARGUMENTS,
    "tests/test_numpy.py::test_operators_with_weak_arguments[pow]": ROUNDING,
    "tests/test_numpy.py::test_reductions_take_a_dtype[int8-std]": ARGUMENTS,
    "tests/test_numpy.py::test_reductions_take_a_dtype[int32-std]": ARGUMENTS,
    "tests/test_numpy.py::test_reductions_take_a_dtype[int64-std]": ARGUMENTS,
    "tests/test_numpy.py::test_reductions_take_a_dtype[uint8-std]": ARGUMENTS,
    "tests/test_names.py::test_nothing_of_the_user_is_kept_alive": OPEN,
    "tests/test_numpy_structure.py::test_updates_by_traced_indices": OPEN,
    "tests/test_random.py::test_a_key_is_a_plain_array": ROUNDING,
    "tests/test_random.py::test_keys_pass_through_a_compiled_step": ROUNDING,
    "tests/test_symbolic_sizes.py::test_compiled_for_named_sizes[f64[n,m]-max]": EMPTY,
    "tests/test_symbolic_sizes.py::test_compiled_for_named_sizes[f64[n,m]-min of all]": EMPTY,
    "tests/test_symbolic_sizes.py::test_compiled_for_named_sizes[f64[n,3]-max]": EMPTY,
    "tests/test_symbolic_sizes.py::test_compiled_for_named_sizes[f64[n,3]-min of all]": EMPTY,
    "tests/test_symbolic_sizes.py::test_compiled_for_named_sizes[f64[n,n]-max]": EMPTY,
    "tests/test_symbolic_sizes.py::test_compiled_for_named_sizes[f64[n,n]-min of all]": EMPTY,
    "tests/test_symbolic_sizes.py::test_compiled_for_named_sizes[f64[n,n]-where]": EMPTY,
    "tests/test_symbolic_sizes.py::test_jitted_at_changing_sizes[max]": EMPTY,
    "tests/test_symbolic_sizes.py::test_jitted_at_changing_sizes[min of all]": EMPTY,
}
