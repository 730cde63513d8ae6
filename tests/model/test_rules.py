import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multilabel_pl.errors import InputError
from multilabel_pl.model.rules import Rule


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("f1", Rule("f1")),
        ("f1_exact", Rule("f1_exact")),
        (" exact_match ", Rule("exact_match")),
        ("micro_f1", Rule("micro_f1")),
        ("precision>=0.9", Rule("precision", 0.9)),
        (" recall >= 1 ", Rule("recall", 1.0)),
        ("recall>=.5", Rule("recall", 0.5)),
        ("recall>=9e-1", Rule("recall", 0.9)),
        ("recall>=0.9@0.95", Rule("recall", 0.9, 0.95)),
        ("precision >= 0.9 @ .99 jointly", Rule("precision", 0.9, 0.99, jointly=True)),
    ],
)
def test_rules_are_read(text: str, rule: Rule) -> None:
    assert Rule.parse(text) == rule


@pytest.mark.parametrize(
    "text",
    [
        "",
        "f2",
        "precision",
        "precision>=2",
        "recall>=-1",
        "recall>0.5",
        "recall>=nan",
        "f1@0.95",
        "recall>=0.9 jointly",
    ],
)
def test_other_rules_are_refused(text: str) -> None:
    with pytest.raises(
        InputError, match=rf"^threshold {re.escape(text)} is neither a number nor a rule, which are f1, .*; P and R in"
    ):
        Rule.parse(text)


@pytest.mark.parametrize("text", ["recall>=1@0.95", "recall>=0@0.9", "precision>=0.9@1", "precision>=0.9@0 jointly"])
def test_nothing_is_guaranteed_for_certain(text: str) -> None:
    with pytest.raises(InputError, match=r"a guarantee needs numbers above 0 and below 1, as in .*>=0.9@0.95, got"):
        Rule.parse(text)


@settings(deadline=None)  # a busy machine may take its time
@given(st.text())
def test_any_text_is_a_rule_or_refused(text: str) -> None:
    try:
        rule = Rule.parse(text)
    except InputError:
        return
    assert 0 <= rule.minimum <= 1
