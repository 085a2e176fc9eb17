"""Text to token ids and back: a strict wrapper over ``tokenizers``, with streaming and chat templates."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gossamer._core.checks import check_int
from gossamer._core.errors import ArgumentError, FormatError
from gossamer._core.files import read_json, write_json, write_text
from gossamer._core.lazy import require

Messages = str | Sequence[Mapping[str, str]]


class Tokenizer:
    """A tokenizer as ``tokenizer.json`` and ``tokenizer_config.json`` describe it.

    Parameters
    ----------
    definition : str
        The text of ``tokenizer.json``.
    config : dict, optional
        What ``tokenizer_config.json`` holds: special tokens, chat template.

    Notes
    -----
    The package ``tokenizers`` is imported on first use: artifacts can be copied and inspected without it.
    """

    def __init__(self, definition: str, config: Mapping[str, Any] | None = None) -> None:
        self.definition = definition
        self.config = dict(config or {})
        self._loaded: Any = None
        self._lock = threading.Lock()

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Tokenizer:
        """Read ``tokenizer.json`` (or the directory that holds it) and ``tokenizer_config.json`` beside it.

        Raises
        ------
        FormatError
            If a file is missing or damaged.
        """
        file = Path(path)
        if file.is_dir():
            file = file / "tokenizer.json"
        config_file = file.with_name("tokenizer_config.json")
        config = read_json(config_file) if config_file.exists() else {}
        if not isinstance(config, dict):
            raise FormatError(f"{config_file} holds a {type(config).__name__}: expected a table")
        if not isinstance(read_json(file), dict):
            raise FormatError(f"{file}: expected the table that the package 'tokenizers' writes")
        return cls(file.read_text(encoding="utf-8"), config)

    @classmethod
    def wrap(cls, tokenizer: Any, config: Mapping[str, Any] | None = None) -> Tokenizer:
        """Take over a ``tokenizers.Tokenizer`` or a fast ``transformers`` tokenizer with its special tokens."""
        if isinstance(tokenizer, cls):
            return tokenizer
        found: dict[str, Any] = {}
        backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
        for name in ("bos_token", "eos_token", "unk_token", "pad_token", "chat_template"):
            if getattr(tokenizer, name, None):
                found[name] = getattr(tokenizer, name)
        return cls(backend.to_str(), {**found, **(config or {})})

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write ``tokenizer.json`` and ``tokenizer_config.json`` into ``folder``."""
        write_text(Path(folder) / "tokenizer.json", self.definition)
        write_json(Path(folder) / "tokenizer_config.json", self.config)

    @property
    def vocab_size(self) -> int:
        """Number of tokens, added ones included."""
        return self._raw.get_vocab_size(with_added_tokens=True)

    def encode(self, text: str, *, special: bool = True, max_length: int | None = None) -> list[int]:
        """Token ids of ``text``; ``special`` adds what wraps a sequence ([CLS], [SEP], BOS)."""
        return self.encode_batch([text], special=special, max_length=max_length)[0]

    def encode_batch(
        self, texts: Sequence[str], *, special: bool = True, max_length: int | None = None
    ) -> list[list[int]]:
        """Token ids of every text, each cut to ``max_length`` with the closing special token kept."""
        for text in texts:
            if not isinstance(text, str):
                raise ArgumentError(f"text is a {type(text).__name__}: expected str")
        raw = self._raw
        with self._lock:  # truncation is a state of the shared object
            if max_length is not None:
                raw.enable_truncation(check_int("max_length", max_length, low=3))
            try:
                encodings = _guarded(raw.encode_batch, list(texts), add_special_tokens=special)
            except (UnicodeEncodeError, TypeError) as error:  # lone surrogates
                raise ArgumentError(f"text is not valid Unicode ({error})") from None
            finally:
                raw.no_truncation()
        return [encoding.ids for encoding in encodings]

    def decode(self, ids: Iterable[int], *, skip_special: bool = True) -> str:
        """The text of ``ids``; bytes that are no UTF-8 become U+FFFD.

        Ids that the tokenizer does not have give no text: models pad their vocabulary.
        """
        checked = [check_int("id", i, low=0, high=2**32 - 1) for i in ids]
        return _guarded(self._raw.decode, checked, skip_special_tokens=skip_special)

    def stream(self, *, skip_special: bool = True) -> StreamDecoder:
        """A decoder that takes ids one at a time and never gives half a character."""
        return StreamDecoder(self, skip_special)

    def token_id(self, token: str) -> int | None:
        """The id of a token's text, None if the vocabulary has no such token."""
        return self._raw.token_to_id(token)

    def special(self, name: str) -> int | None:
        """Id of ``bos_token``, ``eos_token``, ... as the configuration names them, or None."""
        token = self._special_text(name)
        return None if token is None else self.token_id(token)

    def chat(self, messages: Messages, *, generation_prompt: bool = True) -> str:
        """Render messages with the model's chat template.

        Parameters
        ----------
        messages : str or sequence of {"role": str, "content": str}
            A plain string is one message of the user.
        generation_prompt : bool
            End with what introduces the assistant's answer.

        Raises
        ------
        ArgumentError
            If the messages have another form, or the model has no chat template.
        FormatError
            If the template is broken; it runs in a sandbox and cannot reach the program.
        """
        jinja2 = require("jinja2", "models")
        template = self._template()
        environment = _sandbox(require("jinja2.sandbox", "models"))
        environment.filters["tojson"] = lambda value, **options: json.dumps(
            value, ensure_ascii=False, **options
        )
        environment.globals["raise_exception"] = _refuse
        names = ("bos_token", "eos_token", "unk_token", "pad_token")
        tokens = {name: self._special_text(name) or "" for name in names}
        checked = _check_messages(messages)
        try:
            return environment.from_string(template).render(
                messages=checked, add_generation_prompt=generation_prompt, **tokens
            )
        except ArgumentError:
            raise
        except (
            jinja2.TemplateError,
            TypeError,
            ValueError,
            LookupError,
            ArithmeticError,
            RecursionError,
        ) as error:
            raise FormatError(
                f"the chat template cannot be rendered: {type(error).__name__}: {error}"
            ) from None

    @property
    def has_chat_template(self) -> bool:
        """Whether :meth:`chat` can work."""
        return bool(self.config.get("chat_template"))

    @property
    def _raw(self) -> Any:
        if self._loaded is None:
            tokenizers = require("tokenizers", "models")
            try:
                loaded = _guarded(tokenizers.Tokenizer.from_str, self.definition)
            except FormatError:
                raise
            except Exception as error:  # what the package raises is a plain Exception
                raise FormatError(f"tokenizer.json is no tokenizer: {str(error)[:300]}") from None
            loaded.no_padding()
            loaded.no_truncation()
            self._loaded = loaded
        return self._loaded

    def _special_text(self, name: str) -> str | None:
        token = self.config.get(name)
        if isinstance(token, Mapping):
            token = token.get("content")
        return token if isinstance(token, str) else None

    def _template(self) -> str:
        template = self.config.get("chat_template")
        if isinstance(template, list):  # several named templates
            named = {t.get("name"): t.get("template") for t in template if isinstance(t, Mapping)}
            template = named.get("default")
        if not isinstance(template, str) or not template:
            raise ArgumentError("chat=True: this model has no chat template; give the prompt as plain text")
        return template

    def __getstate__(self) -> dict[str, Any]:
        return {"definition": self.definition, "config": self.config}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["definition"], state["config"])  # type: ignore[misc]

    def __repr__(self) -> str:
        return f"Tokenizer({len(self.definition)} characters, chat template: {self.has_chat_template})"


class StreamDecoder:
    """Turns ids that come one at a time into text: ``put`` gives what is certain, ``finish`` the rest.

    The pieces joined are ``tokenizer.decode`` of all ids.
    """

    def __init__(self, tokenizer: Tokenizer, skip_special: bool = True) -> None:
        self._tokenizer = tokenizer
        self._skip = skip_special
        self._ids: list[int] = []
        # decoding starts some tokens early, for decoders that treat the first token of a text differently
        self._context = 0
        self._given = 0

    def put(self, token: int) -> str:
        """Take one id; return the text that it completes, perhaps none."""
        self._ids.append(token)
        text = self._pending()
        if not text or text.endswith("\ufffd"):
            return ""
        self._context, self._given = self._given, len(self._ids)
        return text

    def finish(self) -> str:
        """The text of what was held back: an unfinished character becomes U+FFFD."""
        text = self._pending()
        self._context = self._given = len(self._ids)
        return text

    def _pending(self) -> str:
        before = self._tokenizer.decode(self._ids[self._context : self._given], skip_special=self._skip)
        return self._tokenizer.decode(self._ids[self._context :], skip_special=self._skip)[len(before) :]


def _guarded(function: Any, *arguments: Any, **options: Any) -> Any:
    """Call into ``tokenizers``, which panics on some hostile files; a panic is no ``Exception``."""
    try:
        return function(*arguments, **options)
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise FormatError(f"tokenizer.json is no tokenizer: {str(error)[:300]}") from None


def _sandbox(jinja: Any) -> Any:
    """An environment in which a template cannot reach the program, nor fill its memory by one operator."""

    class Sandbox(jinja.ImmutableSandboxedEnvironment):
        intercepted_binops = frozenset(("*", "**"))

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            numbers = isinstance(left, (int, float)) and isinstance(right, (int, float))
            if not numbers or operator == "**":
                raise jinja.SecurityError(f"the operator {operator} is not allowed on these values")
            return super().call_binop(context, operator, left, right)

    return Sandbox(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])


def _check_messages(messages: Messages) -> list[dict[str, str]]:
    if isinstance(messages, str):
        return [{"role": "user", "content": messages}]
    checked = []
    for message in messages:
        if not isinstance(message, Mapping) or not all(
            isinstance(message.get(k), str) for k in ("role", "content")
        ):
            raise ArgumentError(f"message={message!r}: expected {{'role': 'user', 'content': 'text'}}")
        checked.append(dict(message))
    if not checked:
        raise ArgumentError("messages is empty: expected at least one message")
    return checked


def _refuse(message: str) -> None:
    raise ArgumentError(f"the chat template refuses these messages: {message}")


__all__ = ["Messages", "StreamDecoder", "Tokenizer"]
