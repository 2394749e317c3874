"""The one error that people are meant to read: a line that says what was wanted, what was got, what to do."""

import sys

ERROR_PREFIX = "doctune: error: "  # begins that line, so that it is found in a program's output


class DoctuneError(Exception):
    """Something outside doctune is wrong (input, configuration, environment); the message is for its user.

    Front ends print it as one line and exit with `exit_code`; any other exception is a bug and keeps its traceback.
    """

    exit_code = 1


def warn(text: str) -> None:
    """Say on standard error what a program can do without, or did otherwise than asked; it goes on."""
    print(f"doctune: warning: {text}", file=sys.stderr, flush=True)


def one_line(error: object, most: int = 300) -> str:
    """An error's message on one line of at most `most` characters, for a message of ours that quotes it."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= most else f"{text[:most]}..."
