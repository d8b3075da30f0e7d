"""Benchmarks: `python -m vlasteer.launch.bench.<name>`. Each prints one table and asserts nothing about time."""
