"""At which numbers of pairs a measurement is judged: group-sequential, with the error shared between the looks."""

from __future__ import annotations

GROWTH = 4
"""A measurement is extended up to this many times its first number of pairs, unless somebody says otherwise."""
_WORTHWHILE = 1.25


def budget_fault(first: int, most: int | None) -> str:
    """What is wrong with a budget of pairs; empty if nothing is."""
    if most is None or most >= first:
        return ""
    return f"max_pairs = {most} is fewer than the {first} pairs first measured"


def looks_planned(first: int, most: int | None = None) -> tuple[int, ...]:
    """Numbers of pairs at which an open bar is judged: doubling from `first` to at most `most`.

    They are fixed before anything is measured, so that each look can be judged at its share of the
    error: with alpha / looks at each, the chance of a wrong verdict at any of them is at most alpha
    (Bonferroni), however the looks depend on each other.

    Args:
        first: pairs first measured.
        most: pairs that budget and data allow; None is four times the first.
    """
    most = GROWTH * first if most is None else max(most, first)
    counts = [first]
    while counts[-1] * _WORTHWHILE <= most:
        counts.append(min(2 * counts[-1], most))
    return tuple(counts)
