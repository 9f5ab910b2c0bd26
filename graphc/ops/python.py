"""Ops that run Python when the graph runs: printing, and calling a function of the user's."""

from __future__ import annotations

from collections.abc import Mapping
from string import Formatter
from typing import Any, Final

import numpy as np

from graphc.dims import Size
from graphc.errors import IRError
from graphc.ir import NOTHING, Callback, TensorType, TupleType, Type
from graphc.ops.batching import leading
from graphc.ops.record import OPAQUE, ErrorSample, Op, Reason, Sample
from graphc.ops.typing import Facts

UNKNOWN: Final[Mapping[str, Reason]] = {"exact": OPAQUE, "rule": OPAQUE}
OF_THE_USER: Final[Mapping[str, Reason]] = {**UNKNOWN, "batch": OPAQUE}


def debug_print_type(facts: Facts, *operands: Type, format: str) -> TupleType:
    try:
        parts = list(Formatter().parse(format))
    except ValueError as error:
        raise IRError("debug_print: the format is none", expected="a text for str.format", actual=str(error)) from None
    for _, field, spec, conversion in parts:
        if field is None:
            continue
        if not (field.isascii() and field.isdigit() and int(field) < len(operands)) or "{" in (spec or ""):
            raise IRError(
                "debug_print: a field of the format is no operand",
                expected=f"fields {{0}} to {{{len(operands) - 1}}}" if operands else "a text without fields",
                actual=f"{{{field}{f':{spec}' if spec else ''}}}",
            )
        if conversion not in (None, "r", "s", "a"):
            raise IRError("debug_print: there is no such conversion", expected="!r, !s or !a", actual=f"!{conversion}")
    return NOTHING


def pure_callback_type(
    facts: Facts,
    *operands: Type,
    callback: Callback,
    dtypes: tuple[np.dtype[Any], ...],
    shapes: tuple[tuple[Size, ...], ...],
) -> TupleType:
    if not dtypes or len(dtypes) != len(shapes):
        raise IRError(
            "pure_callback: a dtype and a shape are needed for each result",
            expected="at least one of each",
            actual=f"{len(dtypes)} dtypes, {len(shapes)} shapes",
        )
    if not isinstance(callback, Callback):
        raise IRError("pure_callback: there is no function to call", actual=type(callback).__name__)
    return TupleType([TensorType(shape, dtype) for shape, dtype in zip(shapes, dtypes, strict=True)])


OPS = (
    Op(
        "debug_print",
        type=debug_print_type,
        numpy="calls.debug_print({format}, {*})",
        batch=leading,
        domains=("real",),
        samples=(
            Sample(((3,), ()), {"format": "x = {0}, {{y}} = {1:.3f}, {0!r:>30}"}),
            Sample((), {"format": "here"}),
        ),
        errors=(
            ErrorSample(("f64[2]",), {"format": "{1}"}, IRError, "no operand"),
            ErrorSample(("f64[2]",), {"format": "{0.base}"}, IRError, "no operand"),
            ErrorSample(("f64[2]",), {"format": "{"}, IRError, "the format is none"),
            ErrorSample((), {"format": "{}"}, IRError, "no operand"),
        ),
        reasons=UNKNOWN,
        doc="Writes a text, in which `{0}` stands for the first operand; an effect, without results.",
    ),
    Op(
        "pure_callback",
        type=pure_callback_type,
        numpy="calls.pure_callback({callback}, {shapes}, {dtypes}, {*})",
        domains=("real",),
        samples=(
            Sample(
                ((3,),),
                {"callback": Callback("numpy.sort", np.sort), "dtypes": (np.dtype(np.float64),), "shapes": ((3,),)},
            ),
            Sample(
                ((3,),),
                {
                    "callback": Callback("numpy.modf", np.modf),
                    "dtypes": (np.dtype(np.float64),) * 2,
                    "shapes": ((3,), (3,)),
                },
            ),
        ),
        errors=(
            ErrorSample(
                ("f64[2]",),
                {"callback": Callback("f", None), "shapes": (), "dtypes": ()},
                IRError,
                "for each result",
            ),
            ErrorSample(
                ("f64[2]",),
                {"callback": 1, "shapes": ((),), "dtypes": (np.dtype(np.float64),)},
                IRError,
                "no function",
            ),
        ),
        reasons=OF_THE_USER,
        doc="The results of a function of the user's, which may be called more or less often than it is written.",
    ),
)
