"""The one error that people are meant to read: a line that says what was wanted, what was got, what to do."""


class DoctuneError(Exception):
    """Something outside doctune is wrong (input, configuration, environment); the message is for its user.

    Front ends print it as one line and exit with `exit_code`; any other exception is a bug and keeps its traceback.
    """

    exit_code = 1
