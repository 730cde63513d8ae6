"""The Trainer, its callbacks, and the folders of runs."""
