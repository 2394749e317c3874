"""Network steps tried again, with growing waits, when the failure is one that may pass.

    refs = patiently(lambda: list_refs(url), f"asking {url} for its refs")

`work` raises Transient for what may pass (no connection, a busy server); any other error ends it at once.
"""

import sys
import time
from collections.abc import Callable
from typing import TypeVar

from doctune.errors import DoctuneError

ATTEMPTS = 4
FIRST_WAIT = 1.0
LONGEST_WAIT = 20.0

pause = time.sleep  # a test puts something quicker here
Result = TypeVar("Result")


class Transient(DoctuneError):
    """A failure outside doctune that may pass by itself; shown like any DoctuneError once the attempts are used up.

    `wait` is how many seconds the other side asked to be left alone.
    """

    def __init__(self, message: str, wait: float = 0.0) -> None:
        super().__init__(message)
        self.wait = wait


def patiently(work: Callable[[], Result], what: str) -> Result:
    """Call `work` up to ATTEMPTS times, waiting about 1, 2 and 4 seconds between (with jitter), or longer where asked to.

    Says each retry aloud. Raises the last Transient when every attempt failed, and anything else that `work` raises at once.
    """
    from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

    def say(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        wait = state.next_action.sleep if state.next_action else 0
        attempt = f"attempt {state.attempt_number} of {ATTEMPTS}"
        print(f"doctune: {what} failed ({attempt}): {error}; trying again in {wait:.0f} s", file=sys.stderr, flush=True)

    backoff = wait_exponential_jitter(initial=FIRST_WAIT, max=LONGEST_WAIT)

    def wait(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        return max(backoff(state), error.wait if isinstance(error, Transient) else 0.0)

    retrying = Retrying(
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait,
        retry=retry_if_exception_type(Transient),
        before_sleep=say,
        sleep=lambda seconds: pause(seconds),
        reraise=True,
    )
    return retrying(work)
