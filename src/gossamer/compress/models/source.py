"""A model as compression sees it: a torch module with its blocks, linear layers and embeddings named."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from gossamer._core.errors import ArgumentError, UnsupportedError
from gossamer.compress import memory

BLOCKS = {"llama": "model.layers", "bert": "encoder.layer"}
EMBEDDINGS = {"llama": ("model.embed_tokens", "lm_head"), "bert": ("embeddings.word_embeddings",)}


@dataclass
class SourceModel:
    """A model to compress.

    Attributes
    ----------
    module : torch.nn.Module
        Float32, on the CPU; never modified by compression.
    kind : {"llama", "bert", "module"}
        Llama-family decoder (``LlamaForCausalLM``), BERT encoder (``BertModel``), or anything else.
    name : str
        How reports call it.
    config : dict
        The Hugging Face configuration; empty for other modules.
    content_hash : str
        SHA-256 that changes when any weight does.
    tokenizer : gossamer.engine.tokenizer.Tokenizer or None
    licence : str
        As its source states it; empty if it does not.
    source_nbytes : int
        Bytes of the files it came from.
    examples : tuple
        Example inputs, for kind ``"module"``: each is a tuple of positional arguments.
    """

    module: Any
    kind: str
    name: str
    config: dict[str, Any] = field(default_factory=dict)
    content_hash: str = ""
    tokenizer: Any = None
    licence: str = ""
    source_nbytes: int = 0
    examples: tuple[Any, ...] = ()

    @property
    def chat_template(self) -> str | None:
        """The chat template, where the tokenizer brings one."""
        return self.tokenizer.config.get("chat_template") if self.tokenizer is not None else None

    @property
    def blocks(self) -> list[str]:
        """Module paths of the blocks, in order; one block, the whole module, for kind ``"module"``."""
        if self.kind == "module":
            return [""]
        path = BLOCKS[self.kind]
        return [f"{path}.{i}" for i in range(len(self.module.get_submodule(path)))]

    @property
    def embeddings(self) -> list[str]:
        """Paths of the embedding and head matrices that a recipe's ``head`` speaks of; tied ones once."""
        if self.kind == "module":
            return []
        present = [path for path in EMBEDDINGS[self.kind] if _has(self.module, path)]
        if len(present) == 2 and self.weight(present[0]) is self.weight(present[1]):
            return present[:1]
        return present

    @property
    def parameters(self) -> int:
        """Number of parameters, tied ones counted once."""
        return sum(parameter.numel() for parameter in self.module.parameters())

    @property
    def nbytes(self) -> int:
        """Bytes of the parameters as float32."""
        return 4 * self.parameters

    @property
    def context(self) -> int:
        """Longest sequence that the model takes; 0 if unknown."""
        return int(self.config.get("max_position_embeddings") or 0)

    def weight(self, path: str) -> Any:
        """The weight parameter of the layer at ``path``."""
        return self.module.get_submodule(path).weight

    def linears(self, block: str | None = None) -> dict[str, Any]:
        """The linear layers of one block by path, in order; of all blocks if ``block`` is None."""
        if block is None:
            return {path: layer for name in self.blocks for path, layer in self.linears(name).items()}
        prefix = f"{block}." if block else ""
        return {f"{prefix}{name}": layer for name, layer in named_linears(self.module.get_submodule(block))}

    def rest(self) -> dict[str, Any]:
        """Parameters and persistent buffers that are neither linear weights nor embeddings, by name."""
        taken = {f"{path}.weight" for path in [*self.linears(), *EMBEDDINGS.get(self.kind, ())]}
        return {name: tensor for name, tensor in self.module.state_dict().items() if name not in taken}

    def check(self) -> SourceModel:
        """Refuse weights that are not float32 on the CPU, or hold NaN or infinity (naming the tensor)."""
        import torch

        for name, tensor in self.module.state_dict().items():
            if tensor.device.type == "meta":
                raise ArgumentError(f"{self.name}: tensor {name} has no values")
            if not tensor.is_floating_point():
                continue
            if tensor.dtype != torch.float32 or tensor.device.type != "cpu":
                raise ArgumentError(
                    f"{self.name}: tensor {name} is {tensor.dtype} on {tensor.device}: "
                    "expected float32 on the CPU; pass model.float().cpu()"
                )
            bad = sum(int((~piece.isfinite()).sum()) for piece in tensor.reshape(-1).split(1 << 22))
            if bad:
                raise ArgumentError(f"{self.name}: tensor {name} has {bad} NaN or infinite entries")
        if not self.linears():
            raise UnsupportedError(f"{self.name}: found no torch.nn.Linear layer to compress")
        return self

    def release(self, paths: Iterable[str] | None = None) -> None:
        """Give back the memory of the layers at ``paths`` (None: of everything) where the model came from a file.

        The values stay: they are read from the file again when somebody looks.
        """
        if not self.source_nbytes:
            return
        if paths is None:
            tensors = list(self.module.state_dict().values())
        else:
            tensors = [self.weight(path) for path in paths]
        memory.page_out(tensor.detach().numpy() for tensor in tensors)

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Run the module in evaluation mode and without gradients; put its training flags back afterwards."""
        import torch

        flags = {module: module.training for module in self.module.modules()}
        try:
            self.module.eval()
            with torch.no_grad():
                yield
        finally:
            for module, training in flags.items():
                module.training = training


def named_linears(module: Any) -> list[tuple[str, Any]]:
    """All ``torch.nn.Linear`` layers in ``module`` with their paths, shared ones once."""
    import torch

    return [(name, layer) for name, layer in module.named_modules() if isinstance(layer, torch.nn.Linear)]


def check_examples(examples: Any) -> tuple[tuple[Any, ...], ...]:
    """Example inputs as a tuple of argument tuples; a tensor is one call's only argument."""
    import torch

    if isinstance(examples, torch.Tensor):
        return ((examples,),)
    if not isinstance(examples, Sequence) or not len(examples):
        raise ArgumentError("example_inputs: expected a tensor, or a sequence of calls' arguments")
    return tuple(call if isinstance(call, tuple) else (call,) for call in examples)


def _has(module: Any, path: str) -> bool:
    try:
        module.get_submodule(path)
    except AttributeError:
        return False
    return True
