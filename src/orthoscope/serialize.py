"""Frozen dataclasses to dictionaries and back, strictly, and to canonical JSON.

A dictionary carries the class name (`type`) and a format `version`. Reading refuses unknown keys, naming the nearest
known one: a mistyped setting must never be silently ignored. JSON knows neither NaN nor infinity; both are written as
null, which is read as the default of a field where that is infinite.
"""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import json
import math
from collections.abc import Mapping
from functools import partial
from typing import Any

from orthoscope.checks import fits
from orthoscope.errors import ConfigError, OrthoscopeError, in_one_line, unknown

VERSION = 1
Registry = Mapping[str, type]


def to_dict(value: Any, *, strict: bool = True, identified: bool = False) -> Any:
    """A dataclass, recursively, as a dictionary of plain values with `type` and `version`.

    What has a method `to_spec` says itself what stands for it.

    Args:
        value: What to write.
        strict: Whether it must be read back. Otherwise what cannot be, such as a function without a place, is named
            under `in_memory`, where `from_dict` knows no key.
        identified: Whether what has a method `identity`, a fingerprint of its code, is written with that: for hashes.

    Raises:
        ConfigError: if it must be read back and cannot be.
    """
    inner = partial(to_dict, strict=strict, identified=identified)
    if not isinstance(value, type) and hasattr(value, "to_spec"):
        try:
            spec = {key: inner(part) for key, part in value.to_spec().items()}
        except ConfigError:
            if strict:
                raise
            return {"type": type(value).__name__, "in_memory": str(getattr(value, "name", value))}
        code = value.identity() if identified and hasattr(value, "identity") else None
        return spec | ({"identity": code} if code else {})
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: inner(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {"type": type(value).__name__, "version": VERSION, **fields}
    if isinstance(value, Mapping):
        return {str(k): inner(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [inner(v) for v in value]
    return value


def from_dict(data: Any, registry: Registry) -> Any:
    """The object that `to_dict` wrote, its class looked up in `registry`.

    Raises:
        ConfigError: if the data is no object, of unknown type or version, or has unknown, missing or unusable keys.
    """
    if not isinstance(data, Mapping) or "type" not in data:
        raise ConfigError(
            f"expected a JSON object with a 'type' (one of {', '.join(sorted(registry))}), got {data!r:.80}"
        )
    fields = dict(data)
    name, version = fields.pop("type"), fields.pop("version", VERSION)
    if not isinstance(name, str) or name not in registry:
        raise unknown("type", str(name), registry)
    if version != VERSION or isinstance(version, bool):
        raise ConfigError(f"{name}: format version {version!r} is not supported; this release reads version {VERSION}")
    cls = registry[name]
    make, known, fixed = _maker(cls)
    for key in fields:
        if key not in known and key not in fixed:
            raise unknown(f"key of {name}", str(key), known)
    given = {k: v for k, v in fields.items() if k in known and not (v is None and known[k].default == math.inf)}
    values = {k: _read(v, registry) for k, v in given.items()}
    try:
        for key, value in values.items():
            fits(key, value, str(getattr(known[key], "type", None) or getattr(known[key], "annotation", "")))
        return make(**values)
    except OrthoscopeError:
        raise
    except Exception as error:  # whatever a class raises that is given something else
        missing = sorted(known.keys() - fields.keys())
        raise ConfigError(f"{name}: {in_one_line(error)}; keys not given: {', '.join(missing) or 'none'}") from error


def _maker(cls: Any) -> tuple[Any, Mapping[str, Any], set[str]]:
    """What makes an object of a class from a file, the keys that it takes, and those that it ignores.

    A dataclass is made from its fields; a class with a method `from_spec` by that.
    """
    if hasattr(cls, "from_spec"):
        return cls.from_spec, inspect.signature(cls.from_spec).parameters, set()
    every = {f.name: f for f in dataclasses.fields(cls)} if dataclasses.is_dataclass(cls) else {}
    known = {name: f for name, f in every.items() if f.init}
    return cls, known, every.keys() - known.keys()


def _read(value: Any, registry: Registry) -> Any:
    """A value as the field of a dataclass holds it: objects for dictionaries with a type, tuples for lists."""
    if isinstance(value, Mapping) and "type" in value:
        return from_dict(value, registry)
    if isinstance(value, list):
        return tuple(_read(one, registry) for one in value)
    return value


def plain(value: Any) -> Any:
    """The value as JSON can hold it: numpy scalars and arrays unwrapped, non-finite numbers as None."""
    return _unwrapped(to_dict(value))


def _unwrapped(value: Any) -> Any:
    """The same for what `to_dict` has written: it has gone to the bottom of everything but arrays."""
    if isinstance(value, dict):
        return {k: _unwrapped(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_unwrapped(v) for v in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def dumps(value: Any, *, indent: int | None = 2) -> str:
    """Strict JSON text of any value made of dataclasses, mappings, sequences and numbers."""
    return json.dumps(plain(value), indent=indent, allow_nan=False)


def content_hash(value: Any) -> str:
    """A short stable fingerprint: equal content, and equal code of what is one's own, gives equal text everywhere."""
    # NaN and infinity are kept apart here, which the JSON of a file cannot.
    found = to_dict(value, identified=True)
    text = json.dumps(found, sort_keys=True, separators=(",", ":"), default=lambda array: array.tolist())
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
