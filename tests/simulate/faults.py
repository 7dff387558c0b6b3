"""What can go wrong between the daemon and a stream: one small class each, named after the fault.

`FakeJetStream.fault` is the one that is at work. Those that end a connection strike once, and are gone with it.
"""

from __future__ import annotations

from tests.simulate.fake_jetstream import FakeSession, Fault, Frame, no_responders


class CutAfter(Fault):
    """So many messages are stored and answered; then the connection is gone, with all that was on its way."""

    def __init__(self, messages: int = 0) -> None:
        self.left = messages

    def meet(self, session: FakeSession, frame: Frame) -> None:
        """Counts down."""
        if self.left:
            self.left -= 1
            super().meet(session, frame)
        else:
            session.hub.fault = Fault()
            self.strike(session, frame)

    def strike(self, session: FakeSession, frame: Frame) -> None:
        """The message that it happens to."""
        session.cut("connection reset by peer")


class LostBeforeStored(CutAfter):
    """A message never arrives, nor does anything after it, and at last the connection is given up."""

    SILENT_SECONDS = 10.0

    def strike(self, session: FakeSession, frame: Frame) -> None:
        """Nothing is read from here on."""
        session.silent = True
        session.loop.call_later(self.SILENT_SECONDS, session.cut, "the server has been silent for 10 seconds")


class AckLost(CutAfter):
    """So many messages are stored, their answers never come, and the connection is gone."""

    def __init__(self, messages: int = 1, after: int = 0) -> None:
        super().__init__(after)
        self.stored_unanswered = messages

    def strike(self, session: FakeSession, frame: Frame) -> None:
        """Stored, and not answered."""
        session.hub.handle(frame)
        self.stored_unanswered -= 1
        if self.stored_unanswered:
            session.hub.fault = self
        else:
            session.cut("connection reset by peer")


class ArrivesLate(CutAfter):
    """The connection is gone; what was on its way is read by the server all the same, when `read_late` says so."""

    def strike(self, session: FakeSession, frame: Frame) -> None:
        """Kept for later."""
        session.hub.late += [(late, session.hub.clock.now) for late in (frame, *session.arrived)]
        session.cut("connection reset by peer")


class Slow(Fault):
    """Every answer takes so many seconds on its way."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def meet(self, session: FakeSession, frame: Frame) -> None:
        """Stored at once, told later."""
        session.loop.call_later(self.seconds, session.answer, frame, session.hub.handle(frame))


class StreamFull(Fault):
    """The stream is at the limit of its bytes and discards what is new; until the fault is taken away."""

    def meet(self, session: FakeSession, frame: Frame) -> None:
        """Refused, unless it is refused for another reason or known already."""
        if (stream := session.hub.captor(frame.subject)) is not None:
            stream.full = True
            super().meet(session, frame)
            stream.full = False


class NoResponders(Fault):
    """No stream takes the subject for now, as while a leader is elected; until the fault is gone."""

    def meet(self, session: FakeSession, frame: Frame) -> None:
        """Answered by the server itself."""
        session.answer(frame, no_responders(frame.subject))
