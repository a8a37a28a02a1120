"""What `benchmarks/toolkits.py` runs: the ways of other toolkits, and how they are judged."""
