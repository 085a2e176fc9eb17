"""Documents as sparse vectors over a vocabulary, by a masked language model."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from gossamer._core.checks import check_float, check_int
from gossamer._core.errors import FormatError, ShapeError, UnsupportedError
from gossamer._core.files import write_text
from gossamer._core.lazy import require
from gossamer.retrieve.sparse.rows import prune_rows
from gossamer.retrieve.sparse.word_pieces import WordPieces, as_texts

_TOKENIZER = "tokenizer.json"


class SparseDocEncoder:
    """Encode documents by the head of a masked language model.

    The weight of vocabulary entry j is ``w_j = log(1 + relu(max_t H_tj))``, H the logits at the tokens of the document;
    padding does not take part and special tokens have weight 0. The logits of a document never exist at once.

    Parameters
    ----------
    model : torch.nn.Module
        A masked language model of ``transformers``, or another one whose ``get_output_embeddings()`` is the linear
        layer that makes its logits and that is called with ``input_ids`` and ``attention_mask``.
    tokenizer : object
        The model's own: of ``tokenizers``, ``transformers`` or ``gossamer.engine``.
    max_length : int
        Longer documents are cut to so many tokens, special tokens counted.
    top_n : int, optional
        Keep the largest ``top_n`` weights of a document.
    prune_ratio : float, optional
        Drop weights below so many times the largest of their document.
    double_log : bool
        ``log(1 + log(1 + relu(...)))`` instead: large weights are flattened, as in later models.

    Attributes
    ----------
    model : torch.nn.Module
        As given; :meth:`encode` runs it in evaluation mode.
    pieces : WordPieces
        The tokenizer.
    vocabulary : int
        V.

    Raises
    ------
    UnsupportedError
        If the model has no such layer.
    ShapeError
        If the tokenizer has more tokens than the model.

    References
    ----------
    Geng, Ru, Yang, *Towards competitive search relevance for inference-free learned sparse retrievers*,
    arXiv 2411.04403, 2024. Formal, Piwowarski, Clinchant, *SPLADE*, SIGIR 2021 (the representation).

    Examples
    --------
    >>> encoder = SparseDocEncoder.load("path/of/model")  # doctest: +SKIP
    >>> index = InvertedIndex().build(encoder.encode(documents))  # doctest: +SKIP
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        max_length: int = 256,
        top_n: int | None = None,
        prune_ratio: float | None = None,
        *,
        double_log: bool = False,
    ) -> None:
        head: Any = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
        if getattr(head, "weight", None) is None or head.weight.ndim != 2:
            raise UnsupportedError(
                f"model is a {type(model).__name__}: expected a masked language model with output embeddings"
            )
        self.model, self._head = model, head
        self.pieces = tokenizer if isinstance(tokenizer, WordPieces) else WordPieces(tokenizer)
        self.vocabulary = int(head.weight.shape[0])
        if self.pieces.size > self.vocabulary:
            raise ShapeError(f"the tokenizer has {self.pieces.size} tokens, the model {self.vocabulary}")
        self.max_length = check_int("max_length", max_length, low=3)
        self.top_n = None if top_n is None else check_int("top_n", top_n, low=1)
        self.prune_ratio = (
            None if prune_ratio is None else check_float("prune_ratio", prune_ratio, low=0, high=1)
        )
        self.double_log = bool(double_log)

    @classmethod
    def load(
        cls, folder: str | os.PathLike[str], *, new_head: bool = False, **options: Any
    ) -> SparseDocEncoder:
        """Read model and tokenizer from a folder as ``transformers`` writes it; options are those of the class.

        Parameters
        ----------
        folder : path
            With ``config.json``, weights and ``tokenizer.json``.
        new_head : bool
            Give a model without a language-model head, such as a sentence encoder, a new one whose output layer is the
            table of embeddings; it has to be trained before its vectors mean anything.
        **options
            As ``max_length``.

        Raises
        ------
        FormatError
            If there is no such folder, no model in it, or one whose weights are not complete.
        MissingDependencyError
            If ``transformers`` is not installed.
        """
        transformers = require("transformers", "models")
        from tokenizers import Tokenizer

        path = Path(folder)
        if not (path / "config.json").is_file() or not (path / _TOKENIZER).is_file():
            raise FormatError(f"{path}: expected a folder with config.json and {_TOKENIZER}")
        try:
            model, told = transformers.AutoModelForMaskedLM.from_pretrained(path, output_loading_info=True)
        except (OSError, ValueError) as error:
            raise FormatError(f"{path}: not a masked language model ({error})") from error
        body = f"{model.base_model_prefix}."
        missing = sorted(name for name in told["missing_keys"] if not new_head or name.startswith(body))
        if missing:
            raise FormatError(
                f"{path}: the weights lack {missing[0]} and {len(missing) - 1} more; new_head=True gives a model "
                f"without a language-model head a new one, to be trained"
            )
        return cls(model.eval(), Tokenizer.from_file(str(path / _TOKENIZER)), **options)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write model and tokenizer as :meth:`load` reads them.

        Parameters
        ----------
        folder : path
            Made if it is not there.
        """
        definition = self.pieces.definition()
        self.model.save_pretrained(folder)
        write_text(Path(folder) / _TOKENIZER, definition)

    def weights(self, ids: Sequence[Sequence[int]]) -> Any:
        """Weights of documents given as token ids, with a gradient where torch records one.

        Parameters
        ----------
        ids : sequence of sequences of int
            As the model expects them: special tokens included, not padded.

        Returns
        -------
        Tensor of shape (n, V)
            Weights >= 0.
        """
        import torch

        from gossamer.retrieve.sparse.token_maximum import token_maximum

        hidden = self._hidden(ids)
        out = token_maximum(
            hidden, [len(row) for row in ids], self._head.weight, getattr(self._head, "bias", None)
        )
        out = torch.log1p(torch.relu(out))
        if self.double_log:
            out = torch.log1p(out)
        keep = torch.ones(self.vocabulary, dtype=out.dtype, device=out.device)
        keep[[i for i in self.pieces.special if i < self.vocabulary]] = 0
        return out * keep

    def encode(
        self, texts: Sequence[str], batch_size: int = 32, progress: Callable[[int], None] | None = None
    ) -> sparse.csr_matrix:
        """Sparse vectors of documents.

        Parameters
        ----------
        texts : sequence of str
            An empty one gives an empty row.
        batch_size : int
            Documents that the model sees at once, of similar lengths.
        progress : callable, optional
            Called with the number of documents done.

        Returns
        -------
        csr_matrix of shape (n, V)
            float32, tokens ascending.

        Notes
        -----
        Results do not depend on ``batch_size`` or on the order of documents beyond rounding. ``2 T V h`` flops a
        document of T tokens for the head, which dominates in small models.
        """
        import torch

        batch_size = check_int("batch_size", batch_size, low=1)
        ids = self.pieces.ids(as_texts("texts", texts), max_length=self.max_length)
        full = [i for i, row in enumerate(ids) if not self.pieces.special.issuperset(row)]
        order = sorted(full, key=lambda i: -len(ids[i]))
        rows: list[Any] = [(np.zeros(0, np.int32), np.zeros(0, np.float32))] * len(ids)
        training = self.model.training
        self.model.eval()
        try:
            with torch.no_grad():
                for low in range(0, len(order), batch_size):
                    chosen = order[low : low + batch_size]
                    weights = self.weights([ids[i] for i in chosen]).float().cpu().numpy()
                    for i, row in zip(chosen, weights):
                        tokens = np.flatnonzero(row)
                        rows[i] = (tokens.astype(np.int32), row[tokens])
                    if progress is not None:
                        progress(len(ids) - len(order) + min(low + batch_size, len(order)))
        finally:
            self.model.train(training)
        ends = np.cumsum([0, *(len(tokens) for tokens, _ in rows)])
        parts = [np.concatenate([row[part] for row in rows]) if rows else np.zeros(0) for part in (1, 0)]
        found = sparse.csr_matrix(
            (parts[0], parts[1], ends), shape=(len(rows), self.vocabulary), dtype=np.float32
        )
        if self.top_n is None and self.prune_ratio is None:
            return found
        return prune_rows(found, top_n=self.top_n, ratio=self.prune_ratio)

    def _hidden(self, ids: Sequence[Sequence[int]]) -> Any:
        """What the head is given at the tokens of the documents, one after the other: (sum of lengths, h)."""
        import torch

        device = self._head.weight.device
        lengths = torch.tensor([len(row) for row in ids])
        padded = torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in ids], batch_first=True)
        mask = torch.arange(padded.shape[1])[None] < lengths[:, None]
        caught: list[Any] = []

        def catch(module: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
            caught.append(inputs[0])
            return (inputs[0][:, :0], *inputs[1:])  # the head itself multiplies nothing

        hook = self._head.register_forward_pre_hook(catch)
        try:
            self.model(input_ids=padded.to(device), attention_mask=mask.long().to(device))
        finally:
            hook.remove()
        if len(caught) != 1 or caught[0].shape[:2] != padded.shape:
            raise UnsupportedError(
                f"the output layer of {type(self.model).__name__} was not given one row a token, once"
            )
        return caught[0][mask.to(device)]
