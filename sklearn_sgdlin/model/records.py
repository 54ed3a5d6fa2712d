"""Fitted state in plain form: dicts and arrays, which tools store without trusting a private type.

A record is an object of one of the package's types whose constructor takes its attributes by name,
such as a dataclass or a named tuple.
"""

from importlib import import_module
from inspect import signature

PACKAGE = __name__.partition(".")[0]


def to_plain(value):
    """Return a record as a dict of its type and fields, and anything else as it is."""
    kind = type(value)
    if kind is tuple:
        return tuple(to_plain(item) for item in value)
    if kind.__module__.partition(".")[0] != PACKAGE:
        return value
    fields = {name: to_plain(getattr(value, name)) for name in signature(kind).parameters}
    return {"record": f"{kind.__module__}.{kind.__qualname__}", "fields": fields}


def from_plain(value):
    """Return the record that `to_plain` made a dict of, and anything else as it is.

    Raises
    ------
    AttributeError, ImportError, TypeError, ValueError
        If the package has no such record, or one with other fields.
    """
    if type(value) is tuple:
        return tuple(from_plain(item) for item in value)
    if not isinstance(value, dict) or value.keys() != {"record", "fields"}:
        return value
    module, _, kind = value["record"].rpartition(".")
    if module.partition(".")[0] != PACKAGE:
        raise ValueError(f"{value['record']} is no record of {PACKAGE}")
    fields = {name: from_plain(field) for name, field in value["fields"].items()}
    return getattr(import_module(module), kind)(**fields)
