"""Which block comes next: random, in turn, or by what the gradient promises."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gossamer._core.errors import ArgumentError, unknown_choice
from gossamer._kernels.descent import largest
from gossamer.solve.descent.blocks import Block, FixedBlocks
from gossamer.solve.descent.model_gain import best_gains, cubic_gains
from gossamer.solve.descent.problems.problem import BCDProblem, State
from gossamer.solve.descent.quadratic_subset import hard_threshold_support, matching_pursuit_support
from gossamer.solve.descent.scores import coordinate_scores, diagonal_bound

Choose = Callable[[State], Block]

BLIND = ("random", "cyclic", "perm", "lipschitz")
FIXED = (*BLIND, "gs", "gsl", "gsd", "gsq", "mi")
VARIABLE = ("random", "lipschitz", "gs", "gsl", "gsd", "general")
BY_DIAGONAL = ("gsd", "general", "forest-gsd")
FORESTS = ("forest-gs", "forest-gsd", "forest-random")
SMOOTH_FIXED = (*FIXED, "cubic")
SMOOTH_VARIABLE = (*VARIABLE, "gsq-iht", "gsq-omp", *FORESTS)
PROXIMAL_FIXED = (*FIXED, "gss", "gsr")
PROXIMAL_VARIABLE = (*VARIABLE, "gsq", "gss", "gsr")


def allowed_rules(problem: BCDProblem, fixed: bool) -> tuple[str, ...]:
    """Selection rules that make sense for a problem and for blocks that are fixed or not."""
    if problem.penalty.kind == "none":
        return SMOOTH_FIXED if fixed else SMOOTH_VARIABLE
    return PROXIMAL_FIXED if fixed else PROXIMAL_VARIABLE


@dataclass
class Selection:
    """A rule at work.

    Attributes
    ----------
    choose : callable
        Takes a state, returns a block.
    greedy : bool
        Whether it needs the whole gradient.
    epoch : int
        Iterations after which every coordinate had its turn, about.
    D : ndarray, shape (n,)
        The diagonal bound, if the rule or the update uses it.
    """

    choose: Choose
    greedy: bool
    epoch: int
    D: np.ndarray


def make_selection(
    problem: BCDProblem,
    rule: str,
    blocks: FixedBlocks | None,
    size: int,
    *,
    diag: str,
    norm: int,
    rng: np.random.Generator,
    diagonal: bool = False,
) -> Selection:
    """The rule for fixed ``blocks``, or for subsets of ``size`` coordinates if that is None.

    The diagonal bound is computed for rules that use it, or if ``diagonal`` asks for it.
    """
    allowed = allowed_rules(problem, blocks is not None)
    if rule not in allowed:
        known = {*SMOOTH_FIXED, *SMOOTH_VARIABLE, *PROXIMAL_FIXED, *PROXIMAL_VARIABLE}
        if rule not in known:
            raise unknown_choice("select", rule, allowed)
        kind = "fixed" if blocks is not None else "variable"
        penalty = "a penalty" if problem.penalty.kind != "none" else "no penalty"
        raise ArgumentError(
            f"select={rule!r} does not go with {kind} blocks and {penalty}: expected one of {', '.join(allowed)}"
        )
    alive = np.flatnonzero(~problem.frozen)
    if blocks is None and rule == "general":
        size = max(round(problem.n ** (1 / 3)), 1)
    size = problem.n if rule in FORESTS else min(size, len(alive))
    wanted = diagonal or rule in BY_DIAGONAL
    D = diagonal_bound(problem, diag, blocks, max(size, 1)) if wanted else problem.lipschitz
    if not len(alive):
        none = Block(problem, alive)
        return Selection(lambda state: none, False, 1, D)
    if blocks is not None:
        return Selection(_fixed(problem, rule, blocks, D, norm, rng), rule not in BLIND, len(blocks), D)
    greedy = rule not in ("random", "lipschitz", "forest-random")
    epoch = -(-len(alive) // size) if rule not in FORESTS else 2
    return Selection(_variable(problem, rule, alive, size, D, rng), greedy, epoch, D)


def _fixed(
    problem: BCDProblem, rule: str, blocks: FixedBlocks, D: np.ndarray, norm: int, rng: np.random.Generator
) -> Choose:
    count, safe = len(blocks), np.where(problem.frozen, 1.0, problem.lipschitz)
    if rule == "random":
        return lambda state: blocks.blocks[rng.integers(count)]
    if rule == "lipschitz":
        chances = np.cumsum(blocks.lipschitz / blocks.lipschitz.sum())
        return lambda state: blocks.blocks[min(int(np.searchsorted(chances, rng.random())), count - 1)]
    if rule in ("cyclic", "perm"):
        return _in_turn(blocks, rng if rule == "perm" else None)
    measure: Callable[[State], np.ndarray]
    smooth = problem.penalty.kind == "none"
    if rule == "cubic":
        measure = lambda state: cubic_gains(state, blocks.blocks)  # noqa: E731
    elif rule == "mi":
        measure = lambda state: best_gains(state, blocks.blocks)  # noqa: E731
    elif rule == "gsq" and smooth:
        measure = lambda state: blocks.quadratic_gain(state.gradient())  # noqa: E731
    elif rule == "gsl":
        measure = lambda state: (  # noqa: E731
            _block_norms(blocks, coordinate_scores("gs", state, D, safe), norm) / blocks.lipschitz
        )
    else:
        power = norm if rule in ("gs", "gss") else 2
        measure = lambda state: _block_norms(  # noqa: E731
            blocks, coordinate_scores(rule, state, D, safe), power
        )
    return lambda state: blocks.blocks[int(np.argmax(measure(state)))]


def _block_norms(blocks: FixedBlocks, squares: np.ndarray, norm: int) -> np.ndarray:
    """Squared norms of blocks, from the squares of their entries."""
    return blocks.sums(squares) if norm == 2 else blocks.sums(np.sqrt(squares)) ** 2


def _in_turn(blocks: FixedBlocks, rng: np.random.Generator | None) -> Choose:
    queue: list[int] = []

    def choose(state: State) -> Block:
        if not queue:
            order = np.arange(len(blocks)) if rng is None else rng.permutation(len(blocks))
            queue.extend(order[::-1].tolist())
        return blocks.blocks[queue.pop()]

    return choose


def _variable(
    problem: BCDProblem, rule: str, alive: np.ndarray, size: int, D: np.ndarray, rng: np.random.Generator
) -> Choose:
    safe = np.where(problem.frozen, 1.0, problem.lipschitz)

    def masked(scores: np.ndarray) -> np.ndarray:
        if len(alive) < problem.n:
            scores[problem.frozen] = -np.inf
        return scores

    if rule == "random":
        return lambda state: Block(problem, np.sort(rng.choice(alive, size, replace=False)))
    if rule == "lipschitz":
        # the largest of U^(1/L) are a sample without replacement with weights L (Efraimidis and Spirakis)
        return lambda state: Block(problem, largest(masked(np.log(rng.random(problem.n)) / safe), size))
    if rule == "gsq-iht":
        return lambda state: Block(problem, hard_threshold_support(problem, state.gradient(), size))
    if rule == "gsq-omp":
        return lambda state: Block(problem, matching_pursuit_support(problem, state.gradient(), size))
    if rule in FORESTS:
        graph: Any = problem.graph

        def forest(state: State) -> Block:
            if rule == "forest-random":
                scores = rng.random(problem.n)
            else:
                scores = coordinate_scores(rule[7:], state, D, safe)
            nodes = graph.greedy_forest(masked(scores))
            if len(alive) < problem.n:
                nodes = nodes[~problem.frozen[nodes]]
            block = Block(problem, nodes)
            block.notes["forest"] = True
            return block

        return forest
    measure = "gsd" if rule == "general" else rule

    def best(state: State) -> Block:
        scores = masked(coordinate_scores(measure, state, D, safe))
        if (
            problem.penalty.kind != "none"
        ):  # seats that are left go to the support: then its minimum is one step
            scores[problem.penalty.free(state.x)] += np.finfo(np.float64).tiny
        return Block(problem, largest(scores, size))

    return best
