"""The language of the schema: forms of values, and the one check of them."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from multilabel_pl.errors import InputError

MAX_COUNT = 2**53  # of steps, images, epochs: what a float still counts
REMEDY = "give another checkpoint, such as best or last"
SHOWN = 40  # characters of a value in a message
MISSING = object()  # in the place of a part that isn't there

Part = tuple[str, Any, "Form"]


@dataclass(frozen=True)
class Form:
    """What a value must be.

    Attributes:
        text: The form in words, for messages.
        fits: Whether a value is of the form, its parts aside.
        parts: Yields the parts of a value that fits: where they are in it, and their forms.
        show: Describes a value that does not fit.
    """

    text: str
    fits: Callable[[Any], bool]
    parts: Callable[[Any], Iterable[Part]] = lambda _: ()
    show: Callable[[Any], str] = lambda value: shown(value)


def check_form(value: Any, form: Form, path: str | Path | None, place: str = "", remedy: str = REMEDY) -> None:
    """Checks that a value in a file, such as a checkpoint, is of a form.

    Args:
        value: The value.
        form: What it must be.
        path: The file, for messages.
        place: Where in the file the value is, for messages.
        remedy: What to do if it is not, for messages.

    Raises:
        InputError: If it is not; the message names the file and the place.
    """
    if not form.fits(value):
        where = place.removeprefix(".") or "its content"
        raise InputError(f"{path} can't be used: {where} must be {form.text}, got {form.show(value)}; {remedy}")
    for name, part, own in form.parts(value):
        check_form(part, own, path, place + name, remedy)


def fits(value: Any, form: Form) -> bool:
    """Whether a value is of a form, with all its parts."""
    return form.fits(value) and all(fits(part, own) for _, part, own in form.parts(value))


def shown(value: Any) -> str:
    """Describes a value in a few words."""
    if value is MISSING:
        return "nothing"
    if value is None or isinstance(value, bool | int | float | str):
        text = repr(value)
        return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
    size = f" of {len(value)}" if isinstance(value, list | tuple | dict) else ""
    return f"a {type(value).__name__}{size}"


ANYTHING = Form("anything", lambda _: True)
LEFT_OUT = Form("left out", lambda _: False)
BOOL = Form("true or false", lambda value: isinstance(value, bool))
TEXT = Form("text", lambda value: isinstance(value, str))
DICT = Form("a dictionary", lambda value: isinstance(value, dict))
LIST = Form("a list", lambda value: isinstance(value, list | tuple))
NUMBER = Form("a number", lambda value: isinstance(value, int | float) and not isinstance(value, bool))


def whole_number(least: float = -math.inf, most: float = math.inf) -> Form:
    """Returns the form of whole numbers between two bounds."""
    bounds = "" if math.isinf(least) else f" of at least {least:g}"
    bounds += "" if math.isinf(most) or most > MAX_COUNT else f" and at most {most:g}"
    return Form(
        f"a whole number{bounds}",
        lambda value: isinstance(value, int) and not isinstance(value, bool) and least <= value <= most,
    )


COUNT = whole_number(0, MAX_COUNT)
FINITE = Form("a finite number", lambda value: NUMBER.fits(value) and math.isfinite(value))


def exactly(expected: Any) -> Form:
    """Returns the form of one value alone, type included."""
    return Form(shown(expected), lambda value: type(value) is type(expected) and value == expected)


NONE = exactly(None)


def either(*forms: Form) -> Form:
    """Returns the form of values that are of one of several forms."""
    text = " or ".join(dict.fromkeys(form.text for form in forms))
    return Form(text, lambda value: any(fits(value, form) for form in forms))


def list_of(item: Form) -> Form:
    """Returns the form of lists whose items are all of one form."""
    return Form(LIST.text, LIST.fits, lambda value: ((f"[{i}]", part, item) for i, part in enumerate(value)))


def list_with(items: Sequence[Form]) -> Form:
    """Returns the form of lists with as many items as there are forms, one of each."""
    return Form(
        f"a list of {len(items)}",
        lambda value: LIST.fits(value) and len(value) == len(items),
        lambda value: ((f"[{i}]", *pair) for i, pair in enumerate(zip(value, items, strict=True))),
    )


def dict_of(item: Form, name: Form = TEXT) -> Form:
    """Returns the form of dictionaries whose names are all of one form, and whose values are all of another."""
    return Form(
        f"a dictionary whose names are {name.text}",
        lambda value: isinstance(value, dict) and all(map(name.fits, value)),
        lambda value: ((_step(key), part, item) for key, part in value.items()),
    )


def whole(parts: Form, text: str, is_consistent: Callable[[Any], bool]) -> Form:
    """Returns the form of values that are consistent, once all their parts are of their forms."""
    consistent = Form(text, is_consistent)
    return Form(parts.text, parts.fits, lambda value: [*parts.parts(value), ("", value, consistent)])


def record(
    required: Mapping[Any, Form] | None = None, optional: Mapping[Any, Form] | None = None, closed: bool = False
) -> Form:
    """Returns the form of dictionaries with entries of given names.

    Args:
        required: Forms of the entries that must be there.
        optional: Forms of those that may be there.
        closed: Whether there may be no others.
    """
    required, optional = required or {}, optional or {}
    known = {*required, *optional}

    def parts(value: dict[Any, Any]) -> Iterable[Part]:
        yield from ((_step(name), value.get(name, MISSING), form) for name, form in required.items())
        yield from ((_step(name), value[name], form) for name, form in optional.items() if name in value)
        if closed:
            yield from ((_step(name), part, LEFT_OUT) for name, part in value.items() if name not in known)

    return Form(DICT.text, DICT.fits, parts)


def alike(example: Any, exact: bool = False) -> Form:
    """Returns the form of values as the program itself would save them.

    Args:
        example: Such a value. Its numbers may be others, not below 0 unless its own are; and what is none, or empty, in
            it may be filled.
        exact: Whether text, true, false and none must be the same.
    """
    if isinstance(example, dict):
        return record({name: alike(value, exact) for name, value in example.items()}, closed=True) if example else DICT
    if isinstance(example, list | tuple):
        return list_with([alike(value, exact) for value in example])
    if exact and (example is None or isinstance(example, bool | str)):
        return exactly(example)
    if isinstance(example, int) and not isinstance(example, bool):
        return whole_number(min(example, 0), MAX_COUNT)
    return {bool: BOOL, float: FINITE, str: TEXT}.get(type(example), ANYTHING)


def _step(name: Any) -> str:
    return f".{name}" if isinstance(name, str) else f"[{name}]"
