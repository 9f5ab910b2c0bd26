"""How a command ends: its exit code, and its errors as people read them."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from types import FrameType, TracebackType
from typing import Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

from graphc.cli.target import UsageError
from graphc.errors import GraphcError, Loc
from graphc.tracing import user_frame

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 64  # EX_USAGE of sysexits.h

# Typer brings its own copy of click, or imports it, by version: the base of its errors is found through one of them.
ClickException: Final[type[Any]] = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")


def spread(words: Sequence[str]) -> list[str]:
    """Let one `--args` take all the words up to the next option.

    >>> spread(["f", "--args", "f64[3]", "-2.5", "--diff"])
    ['f', '--args=f64[3]', '--args=-2.5', '--diff']
    """
    result: list[str] = []
    taking = False
    for word in words:
        if word.startswith("-") and not word[1:2].isdigit() and word[1:2] != ".":
            taking = word == "--args"
            if not taking:
                result.append(word)
        else:
            result.append(f"--args={word}" if taking else word)
    return result


class Command(TyperCommand):
    """A command whose `--args` takes several words."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[-1] == "--args":
            raise typer.BadParameter('--args needs at least one argument, such as "f64[n,3]"', ctx=ctx)
        return super().parse_args(ctx, spread(args))


class Commands(TyperGroup):
    """The commands, and the one place where their errors become text and exit codes."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        words = list(sys.argv[1:] if args is None else args)
        try:
            code = super().main(words, prog_name, complete_var, False, windows_expand_args, **extra)
            sys.stdout.flush()
        except BrokenPipeError:
            # the reader of a pipe, such as head, has left: nothing more to say
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = FAILED
        except KeyboardInterrupt:
            code = 130
        except Exception as error:
            code = report(error, full="--traceback" in words)
        sys.exit(code if isinstance(code, int) else OK)


@contextlib.contextmanager
def users_code() -> Iterator[None]:
    """Context of everything that runs the user's code: its output goes to stderr, and it cannot end the process."""
    try:
        # stdout is for the answer alone
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except SystemExit as error:
        raise GraphcError(
            "the program ends itself when it is imported or traced",
            expected="a module that can be imported, and a function that returns",
            actual=f"sys.exit({'' if error.code is None else repr(error.code)})",
            loc=user_line(error.__traceback__),
            fix='put what only a script does under if __name__ == "__main__":',
        ) from error


def report(error: Exception, full: bool) -> int:
    """Print an error to stderr, and give the exit code it means."""
    if isinstance(error, ClickException):
        context = getattr(error, "ctx", None)
        path = context.command_path if context is not None else "graphc"
        if type(error).__name__ == "NoArgsIsHelpError" and context is not None:
            message = context.get_help()
        else:
            message = f"graphc: {error.format_message()}\n  fix       {path} --help"
        sys.stderr.write(f"{message}\n")
        return USAGE
    if full:
        traceback.print_exception(error)
        return USAGE if isinstance(error, UsageError) else FAILED
    if isinstance(error, UsageError):
        sys.stderr.write(f"graphc: {error}\n")
        return USAGE
    place = user_line(error.__traceback__)
    if isinstance(error, GraphcError):
        error.loc = error.loc or place
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
    elif place is not None or isinstance(error, SyntaxError):
        # a syntax error shows its line by itself
        at = f"  at        {place.described}\n" if place is not None else ""
        lines = traceback.format_exception_only(error)
        sys.stderr.write("".join(lines) + at + "  fix       --traceback shows every call\n")
    else:
        sys.stderr.write("graphc itself failed; please report this:\n")
        traceback.print_exception(error)
    return FAILED


def user_line(trace: TracebackType | None) -> Loc | None:
    """The innermost line of the user's code in a traceback; what called the command line is not the user's."""
    frames: list[tuple[FrameType, int]] = []
    while trace is not None:
        frames.append((trace.tb_frame, trace.tb_lineno))
        trace = trace.tb_next
    found = None
    for frame, line in frames:
        if frame.f_globals.get("__name__", "").startswith("graphc.cli"):
            found = None
        elif user_frame(frame) is frame and not frame.f_code.co_filename.startswith("<frozen "):
            found = Loc(frame.f_code.co_filename, line, frame.f_code.co_name)
    return found
