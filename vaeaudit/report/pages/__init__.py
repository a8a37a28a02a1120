"""A report as HTML: pages that stand alone, and what they are made of."""
