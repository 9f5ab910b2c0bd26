"""The verification tool: derivatives proved, certified, checked or refuted against exact mathematics."""

from graphc.verification.driver import verify
from graphc.verification.report import Edge, Entry, Report

__all__ = ["Edge", "Entry", "Report", "verify"]
