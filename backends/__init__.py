"""Backends: each runs a compiled graph on one kind of array. Installed as ``graphc.backends``."""

if __name__ != "graphc.backends":
    raise ImportError("`backends` is a folder of the source tree; import graphc.backends", name=__name__)
