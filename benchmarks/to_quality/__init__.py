"""Peers of `benchmarks.quality`: programs that train the tutorial's network at its settings, from start to checkpoint.

`python -m benchmarks.to_quality.NAME ARCHIVES EPOCHS SEED` trains on 55,000 of MNIST's images, in the working folder.
After every epoch it validates on the other 5,000, and writes a checkpoint `epoch_N`; when all are written, beside each
the probabilities that it gives to the test images. They import nothing of the package, whose libraries would slow their
start; each has a Python that has its own libraries.
"""
