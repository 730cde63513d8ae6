"""Names of files that several layers share."""

BEST, LAST = "best", "last"  # checkpoints in the folder of a run, with the suffix .ckpt
CONFIG = "config.yaml"  # in the folder of a run
CURVES = "metrics.csv"  # there, too
OUTPUTS = "outputs.npz"  # in the folder of an evaluation
REPORT, METRICS = "report.md", "metrics.json"  # there, too
PAGE = "report.html"  # there, too, unless it was left out
STDOUT = "-"  # where a file may be named
SHARDS = "task.json"  # in a folder of shards, written last
