"""What measures the figures of the manual: `python -m benchmarks.NAME`; `benchmarks.tables` runs them all."""
