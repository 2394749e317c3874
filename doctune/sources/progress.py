"""What a source says on stderr while it works.

say("making the memo anew")                       # doctune: making the memo anew
"""

import sys


def say(text: str) -> None:
    print(f"doctune: {text}", file=sys.stderr, flush=True)
