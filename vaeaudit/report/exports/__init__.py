"""A report for other programs."""
