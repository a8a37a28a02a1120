"""A report in a terminal."""
