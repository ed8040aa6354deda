"""A listener that stops a run, as Ctrl-C would."""

from search.listener import Listener


class Stopping(Listener):
    """Stops after so many steps or networks."""

    def __init__(self, after):
        self.left = after

    def stop(self):
        self.left -= 1
        return self.left <= 0
