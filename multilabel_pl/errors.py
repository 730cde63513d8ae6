"""The one exception that a user's mistake raises."""


class InputError(ValueError):
    """A mistake in what the user gave: an option, a file, a checkpoint.

    Its message names the value and the remedy, in one line, or in one for each mistake in a table. The command line
    prints it and exits with status 2.
    """
