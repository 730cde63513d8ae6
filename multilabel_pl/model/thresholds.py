"""Thresholds: one for each label, learned by a rule on validation images."""

import torch
from torch import Tensor

from multilabel_pl.model.exact_match import exact_match_thresholds
from multilabel_pl.model.guarantees import LAST, precision_thresholds, recall_thresholds
from multilabel_pl.model.robust_f1 import robust_f1_thresholds
from multilabel_pl.model.rules import FALLBACK, Learned, Rule

EXCLUDED = -1.0  # less than any precision, recall or F1


def learn_thresholds(logits: Tensor, targets: Tensor, rule: Rule) -> Learned:
    """Finds the threshold of every label, for the sigmoid of its logits.

    Args:
        logits: float (N, L), with N at least 1.
        targets: (N, L): 1, 0, or NaN where unknown.
        rule: What to choose for.

    Returns:
        The thresholds. A label whose probabilities can't meet the rule has 0.5, or what keeps the promise of a
        guarantee; so has a label without positives, but for the rules that choose for all labels together.
    """
    probabilities = logits.float().sigmoid()
    if rule.confidence is not None:
        risk = (1 - rule.confidence) / (targets.shape[1] if rule.jointly else 1)
        guarantee = recall_thresholds if rule.metric == "recall" else precision_thresholds
        return guarantee(probabilities, targets, rule.minimum, risk)
    if rule.metric not in ("f1", "exact_match", "micro_f1"):
        return search(probabilities, targets, rule)
    found = (targets > 0).any().expand(targets.shape[1])
    if not found.any():
        return Learned(torch.full_like(probabilities[0], FALLBACK), found)
    if rule.metric == "f1":
        return Learned(robust_f1_thresholds(logits, targets), found)
    if rule.metric == "exact_match":
        return Learned(exact_match_thresholds(logits, targets), found)
    single = search(probabilities.reshape(-1, 1), targets.reshape(-1, 1), Rule("f1_exact"))
    return Learned(single.thresholds.expand(len(found)), found)


def search(probabilities: Tensor, targets: Tensor, rule: Rule) -> Learned:
    """Finds the threshold of every label that is the best on these images.

    The search is exact: a label's images are sorted by probability, and precision and recall are counted at every
    threshold between two that differ, midway between them. Among equals, the one with the highest F1 is taken, then the
    one with the fewest tags.

    Args:
        probabilities: float (N, L), with N at least 1.
        targets: (N, L): 1, 0, or NaN where unknown.
        rule: `f1_exact`, or `precision` or `recall` without a confidence.

    Returns:
        The thresholds; those of labels without positives, or whose probabilities can't meet the rule, are 0.5.
    """
    scores = probabilities.float().where(~targets.isnan(), LAST)
    scores, order = scores.T.sort(dim=1, descending=True)  # (L, N)
    hits = (targets > 0).T.gather(1, order).double().cumsum(dim=1)  # (L, N): true positives among the first so many
    tagged = torch.arange(1, len(targets) + 1, device=hits.device)  # (N,)
    positives = hits[:, -1:]  # (L, 1)
    below = torch.cat([scores[:, 1:], torch.full_like(scores[:, :1], LAST)], dim=1)  # (L, N): the next lower score
    separates = scores > below

    precision, recall, f1 = hits / tagged, hits / positives, 2 * hits / (tagged + positives)
    if rule.metric == "precision":
        worth = recall.where(precision >= rule.minimum, EXCLUDED)
    elif rule.metric == "recall":
        worth = precision.where(recall >= rule.minimum, EXCLUDED)
    else:
        worth = f1
    worth = worth.where(separates, EXCLUDED)
    most = worth.amax(dim=1, keepdim=True)  # (L, 1)
    best = f1.where(worth == most, EXCLUDED).argmax(dim=1, keepdim=True)  # (L, 1), the first of equals

    upper, lower = scores.gather(1, best), below.gather(1, best).clamp(min=0)
    middle = upper / 2 + lower / 2
    thresholds = middle.where(middle > lower, upper)  # between two neighbouring floats there is no middle
    found = (positives > 0) & (most > EXCLUDED)
    return Learned(thresholds.where(found, FALLBACK)[:, 0], found[:, 0])
