"""How much of what a world can show a collection of its observations has met."""

from __future__ import annotations

from dataclasses import dataclass

COVERED = 0.05
"""Share of unseen observations up to which a collection need not grow."""


@dataclass(frozen=True)
class Coverage:
    """Counts of a collection. That it has stopped finding views does not mean that there are no others."""

    distinct: int
    """Distinct views that were met."""
    observations: int
    """Views that were met, repeats included."""
    once: int
    """Distinct views that were met exactly once."""
    episodes: int
    """Episodes that were begun."""

    @property
    def unseen(self) -> float:
        """Estimated share of observations, in [0, 1], that would show a view that was not met.

        Good-Turing (Good 1953, "The population frequencies of species"): `once / observations`. It assumes independent
        observations, played in the same way. The steps of an episode resemble each other, so that the share can be
        larger; a collection that was stopped early because it had enough views gives a rough value.
        """
        return self.once / self.observations if self.observations else 1.0

    def __str__(self) -> str:
        met = f"{self.distinct:,} distinct views in {self.observations:,} observations of {self.episodes:,} episodes"
        if self.unseen == 1:
            return f"{met}; none was met twice"
        return (
            f"{met}; an estimated {self.unseen:.2%} of observations show others "
            "(Good-Turing, which assumes independent observations)"
        )
