"""Wrong variants of the package, each with the tests that must notice.

A mutant replaces one snippet, which must occur exactly once in its file, by another.
"""

from __future__ import annotations

from tests.mutants.harness import Mutant

MUTANTS: tuple[Mutant, ...] = ()
