"""graphc measured side by side with its peers: `python -m benchmarks.run --help`."""
