"""Contracts: generic checks for operators, families and modules, of gossamer and of third parties.

Each check raises ``AssertionError`` with a sentence that says which clause is broken. They need no test framework.
"""

from gossamer._core.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    attributes={
        "market": ["MARKET", "Stall"],
        "modules": ["check_module"],
        "operators": ["check_operator"],
        "structures": ["check_structure"],
    },
)
