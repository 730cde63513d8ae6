"""What `validate` and `test` leave behind: a table on the screen, and the same figures as JSON."""

import json
import math
from pathlib import Path

from multilabel_pl.results.files import replacing

NO_TAGS = "label_accuracy_of_no_tags"


def metrics_table(metrics: dict[str, float], stage: str) -> str:
    """Lays out metrics, one a line, and says what label accuracy predicting no tag at all would reach."""
    names = [name for name in metrics if not name.endswith(NO_TAGS)]
    width = max(map(len, names))
    lines = [f"  {name:<{width}}  {metrics[name]:.4f}" for name in names]
    lines.append(f"  (predicting no tag at all scores {metrics[f'{stage}_{NO_TAGS}']:.4f} in {stage}_label_accuracy)")
    return "\n".join(lines)


def write_metrics(metrics: dict[str, float], path: Path) -> None:
    """Writes metrics as one flat JSON object, name to number; null for what isn't finite, which JSON can't say."""
    plain = {name: value if math.isfinite(value) else None for name, value in metrics.items()}
    with replacing(path) as partial:
        partial.write_text(json.dumps(plain, indent=2, allow_nan=False) + "\n", encoding="utf-8")
