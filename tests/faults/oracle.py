"""What each recipient truly is, kept by those who change it, and never asked of the program.

Every recipient has a history of the moments when a change began and when it was done. Between the
two, and after a change whose end nobody saw (the server died under it), nobody can say."""

import dataclasses
import threading
import time

EXISTS, ABSENT, UNSURE = "exists", "absent", "unsure"


@dataclasses.dataclass
class Change:
    state: str
    began: float
    done: float = float("inf")


class Oracle:
    def __init__(self):
        self.lock = threading.Lock()
        self.histories = {}  # recipient -> its changes, oldest first

    def was_always(self, recipient, state):
        with self.lock:
            self.histories[recipient] = [Change(state, 0, 0)]

    def change(self, recipient, state, do):
        """do() makes it so. False when it failed: then nobody knows, and it stays unsure."""
        change = Change(state, time.monotonic())
        with self.lock:
            self.histories.setdefault(recipient, [Change(ABSENT, 0, 0)]).append(change)
        done = do()
        if done:
            change.done = time.monotonic()
        return done

    def truth(self, recipient, begin, end):
        """What it was all the time from `begin` to `end`; a recipient nobody made is ABSENT."""
        with self.lock:
            history = list(self.histories.get(recipient, [Change(ABSENT, 0, 0)]))
        state = UNSURE
        for change in history:
            if change.done <= begin:
                state = change.state
            elif change.began < end:
                return UNSURE
        return state

    def gone_for(self, recipient, now):
        """Seconds since it was there for the last time; None: it never was."""
        with self.lock:
            history = list(self.histories.get(recipient, []))
        for earlier, later in zip(history[::-1][1:], history[::-1]):
            if earlier.state == EXISTS:
                return now - later.done
        return None
