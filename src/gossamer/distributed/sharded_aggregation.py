"""Gradients of many workers combined by several servers, none of which sees all coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.distributed as dist

from gossamer._core.arrays import Array, is_torch, to_torch
from gossamer._core.checks import check_array, check_choice, check_int
from gossamer._core.errors import ArgumentError, ShapeError, UnsupportedError, bad_argument
from gossamer.solve import AGGREGATORS, aggregate, all_reduce_sum, shard_slice

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


class ShardedAggregator:
    """Combine gradients over the processes of a group: each server gets its own coordinates of all of them.

    A worker sends every server a slice of its gradient. The servers sum their parts of the Gram matrix (p x p numbers
    for the flag family), combine their coordinates, and send them to everybody.

    Create it in every process of the group with the same arguments, and call it in every process, once a step.

    Parameters
    ----------
    rule : str
        Of :data:`gossamer.solve.AGGREGATORS`.
    f : int, optional
        Bad workers assumed, for the rules that want to know.
    servers : sequence of int, optional
        Ranks in the group; all by default: every worker also serves. Workers may be hostile, servers must not be.
    group : torch.distributed process group, optional
        The default group by default. On the CPU (gloo).
    **options
        Of the rule, for instance ``lam=0.1``.

    Raises
    ------
    ArgumentError, UnsupportedError
        An unknown rule, a random start without a seed, servers that are not distinct ranks of the group, or a group
        without gloo.

    Notes
    -----
    Sends ``O(p n)`` numbers in all; a server keeps ``p n / s`` of them. The ranks of workers count as their numbers.

    See Also
    --------
    gossamer.solve.aggregate : With ``reduce=all_reduce_sum()``, where gradients are sharded already.

    References
    ----------
    Almasi, Mishra, Vamanan, Ravi. Flag Aggregator: Scalable Distributed Training under Failures and Augmented Losses
    using Convex Optimization. ICLR 2024, arXiv 2302.05865.
    """

    def __init__(
        self,
        rule: str = "flag",
        f: int | None = None,
        *,
        servers: Sequence[int] | None = None,
        group: Any = None,
        **options: Any,
    ) -> None:
        self.rule, self.f, self.options = check_choice("rule", rule, AGGREGATORS), f, options
        if options.get("init") == "random" and options.get("random_state") is None:
            raise bad_argument("random_state", None, "a seed, the same in all processes")
        self._group = group
        if "gloo" not in str(dist.get_backend_config(group)):
            raise UnsupportedError(f"the group has the backend {dist.get_backend(group)}: expected gloo")
        self._rank, size = dist.get_rank(group), dist.get_world_size(group)
        self._global = [r if group is None else dist.get_global_rank(group, r) for r in range(size)]
        if servers is None:
            self.servers, self._among = list(range(size)), group
        else:
            self.servers = [check_int("servers", r, low=0, high=size - 1) for r in servers]
            if not self.servers or len(set(self.servers)) < len(self.servers):
                raise bad_argument("servers", list(servers), "distinct ranks, at least one")
            self._among = dist.new_group([self._global[r] for r in sorted(self.servers)], backend="gloo")

    def __call__(self, gradient: Array | None) -> Any:
        """Return the combined gradient (n,), the same in every process; with ``return_info=True`` a pair.

        Parameters
        ----------
        gradient : array or tensor, shape (n,), or None
            This worker's; None in a process that only serves. All of one dtype.

        Returns
        -------
        array or tensor, shape (n,)
            In kind and dtype as the gradient (a tensor where it is None). The information is None in processes that
            do not serve.

        Raises
        ------
        ShapeError, ArgumentError
            In every process, if lengths or dtypes differ between workers, fewer than two of them have a gradient, or
            the rule refuses.
        """
        own = (
            None
            if gradient is None
            else to_torch(check_array("gradient", gradient, ndim=1, finite=False)).detach().cpu()
        )
        workers, n, dtype = self._agree(own)
        mine = self._exchange(own, workers, n, dtype)
        x = torch.empty(n, dtype=dtype)
        info, error = None, None
        if mine is not None:
            try:
                found = aggregate(mine, self.rule, self.f, reduce=all_reduce_sum(self._among), **self.options)
                part, info = found if self.options.get("return_info") else (found, None)
                x[self._slice(self._rank, n)] = part
            except ArgumentError as refused:
                error = refused
        self._raise_everywhere(error)
        for server in self.servers:
            if len(share := x[self._slice(server, n)]):
                dist.broadcast(share, self._global[server], group=self._group)
        result = x if gradient is None or is_torch(gradient) else x.numpy()
        if not self.options.get("return_info"):
            return result
        return result, None if info is None else replace(info, x=result)

    def _slice(self, server: int, n: int) -> slice:
        return shard_slice(n, self.servers.index(server), len(self.servers))

    def _agree(self, own: torch.Tensor | None) -> tuple[list[int], int, torch.dtype]:
        """Who has a gradient, its length and its dtype, after everybody has told."""
        code = -1 if own is None else DTYPES.index(own.dtype) if own.dtype in DTYPES else len(DTYPES)
        told = [torch.empty(2, dtype=torch.int64) for _ in self._global]
        dist.all_gather(told, torch.tensor([-1 if own is None else len(own), code]), group=self._group)
        facts = [tuple(t.tolist()) for t in told]
        workers = [r for r, (length, _) in enumerate(facts) if length >= 0]
        if len(workers) < 2:
            raise ShapeError(f"processes with a gradient: {len(workers)}, expected at least 2")
        n, code = facts[workers[0]]
        for r in workers:
            if facts[r][0] != n:
                raise ShapeError(
                    f"the gradient of rank {r} has {facts[r][0]} entries: expected {n}, as of rank {workers[0]}"
                )
            if facts[r][1] != code or code == len(DTYPES):
                raise ArgumentError(
                    f"the gradient of rank {r} has another dtype than that of rank {workers[0]}, or none of {DTYPES}"
                )
        return workers, n, DTYPES[code]

    def _exchange(
        self, own: torch.Tensor | None, workers: list[int], n: int, dtype: torch.dtype
    ) -> torch.Tensor | None:
        """The coordinates of this server of all gradients (p, width), or None."""
        pending, mine = [], None
        serving = self._rank in self.servers
        if own is not None:
            for server in self.servers:
                part = own[self._slice(server, n)].contiguous()
                if server != self._rank and len(part):
                    pending.append(dist.isend(part, self._global[server], group=self._group))
        if serving:
            cut = self._slice(self._rank, n)
            mine = torch.empty((len(workers), cut.stop - cut.start), dtype=dtype)
            for row, worker in zip(mine, workers, strict=True):
                if own is not None and worker == self._rank:
                    row.copy_(own[cut])
                elif len(row):
                    pending.append(dist.irecv(row, self._global[worker], group=self._group))
        for operation in pending:
            if operation is not None:
                operation.wait()
        return mine

    def _raise_everywhere(self, error: ArgumentError | None) -> None:
        failed = torch.zeros(len(self._global), dtype=torch.int64)
        failed[self._rank] = error is not None
        dist.all_reduce(failed, group=self._group)
        if error is not None:
            raise error
        if failed.any():
            raise ArgumentError(
                f"the servers at ranks {failed.nonzero().flatten().tolist()} refused the gradients"
            )
