"""Forms of a constructor's arguments, from its annotations."""

import inspect
import types
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from multilabel_pl.schema.forms import (
    ANYTHING,
    BOOL,
    NONE,
    NUMBER,
    TEXT,
    Form,
    dict_of,
    either,
    exactly,
    list_of,
    list_with,
    whole_number,
)

SIMPLE = {bool: BOOL, int: whole_number(), float: NUMBER, str: TEXT, types.NoneType: NONE}


def arguments_of(owner: type) -> dict[str, Form]:
    """Returns the forms of the arguments that a class and its bases are made with, by name.

    An argument without an annotation may be anything, and None where that is its default.
    """
    forms: dict[str, Form] = {}
    for base in owner.__mro__:
        if init := vars(base).get("__init__"):
            with suppress(NameError, ValueError):  # types imported for type checking alone; C has no signatures
                hints, defaults = get_type_hints(init), inspect.signature(init).parameters
                own = {name: _form(hint) for name, hint in hints.items() if name in defaults}
                own |= {name: either(form, NONE) for name, form in own.items() if defaults[name].default is None}
                forms = own | forms
    return forms


def _form(hint: Any) -> Form:
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return either(*map(_form, inner))
    if origin is Literal:
        return either(*map(exactly, inner))
    if origin in (list, Sequence):
        return list_of(_form(inner[0]))
    if origin is dict:
        return dict_of(_form(inner[1]))
    if origin is tuple and Ellipsis not in inner:
        return list_with([_form(part) for part in inner])
    if hint in SIMPLE:
        return SIMPLE[hint]
    if hint is Any:  # itself a class
        return ANYTHING
    return Form(f"a {hint.__name__}", lambda value: isinstance(value, hint)) if isinstance(hint, type) else ANYTHING
