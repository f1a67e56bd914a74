"""A wall clock that a test moves, for the daemons that have it in their environment (libfaketime).
Their monotonic clock goes on as it does."""

LIBRARY = "faketime/libfaketimeMT.so.1"


class FakeClock:
    def __init__(self, path):
        self.path = path
        self.set(0)
        self.environment = {
            "LD_PRELOAD": f"/usr/$LIB/{LIBRARY}", "FAKETIME_NO_CACHE": "1",
            "FAKETIME_TIMESTAMP_FILE": str(path), "DONT_FAKE_MONOTONIC": "1",
            # Else it meddles with waits on the monotonic clock, and they end at once.
            "FAKETIME_FORCE_MONOTONIC_FIX": "0",
        }  # fmt: skip

    def set(self, seconds):
        """So far ahead of the true time, or behind it. The file is replaced whole: it is read all the
        time."""
        aside = self.path.with_suffix(".new")
        aside.write_text(f"{seconds:+d}\n")
        aside.rename(self.path)
