"""The order of the suite: what takes long begins first, so that no worker waits for another one at the end."""

from collections import defaultdict
from collections.abc import Sequence

import pytest


def seconds_of(item: pytest.Item) -> float:
    """What its mark ``slow(seconds)`` says; 0 without one, and when it is skipped."""
    mark = item.get_closest_marker("slow")
    return 0.0 if mark is None or item.get_closest_marker("skip") else float(mark.args[0])


def slow_first(items: Sequence[pytest.Item], workers: int) -> list[pytest.Item]:
    """Deal the slow tests out to the workers, the longest first, and begin every worker's share with its own.

    xdist gives each worker an equal share of the list, one after the other; whoever is done steals from the rest. Slow
    tests of one module stay together and in their order, since they share fixtures that take long, too.
    """
    slow: defaultdict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        if seconds_of(item):
            slow[item.nodeid.partition("::")[0]].append(item)
    fast = [item for item in items if not seconds_of(item)]
    hands: list[list[pytest.Item]] = [[] for _ in range(workers)]
    for unit in sorted(slow.values(), key=lambda unit: sum(map(seconds_of, unit)), reverse=True):
        min(hands, key=lambda hand: sum(map(seconds_of, hand))).extend(unit)
    ordered: list[pytest.Item] = []
    for number, hand in enumerate(hands):
        share = (len(items) - len(ordered)) // (workers - number)
        rest = max(0, share - len(hand))
        ordered += hand + fast[:rest]
        fast = fast[rest:]
    return ordered + fast
