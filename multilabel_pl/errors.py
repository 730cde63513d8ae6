"""The one exception that a user's mistake raises."""


class InputError(ValueError):
    """A mistake in what the user gave: an option, a file, a checkpoint.

    Its message is one line that names the value and the remedy. The command line prints it and exits with status 2.
    """
