"""What `benchmarks/attack.py` runs: one module a comparison, and what they share."""
