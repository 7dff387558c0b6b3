"""Files that were taken and not delivered, and how each of them is taken the next time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from syncdaemon.base.model import AsObject, Content, Fit, Later
from syncdaemon.deliver.needs import SpoolLike


class Retries:
    """Puts files back into the queue, counts their attempts, and knows which of them have to be objects."""

    def __init__(self, spool: SpoolLike) -> None:
        self._spool = spool
        self._attempts: dict[bytes, int] = {}
        self._objects: dict[str, str] = {}  # by digest: what the stream has as an object, and so can't be a message
        self._no_objects = False  # the bucket took no chunk

    def numbered(self, content: Content) -> Content:
        """The content, with the number of this attempt."""
        if self._attempts and (attempts := self._attempts.pop(content.path, 0)):
            return content._replace(attempts=attempts + 1)
        return content

    def fit(self, fit: Fit) -> Fit:
        """How much to read: all that a message can hold, however slow the link is, while there can be no object."""
        return fit._replace(link=fit.message) if self._no_objects else fit

    def put_back(self, left: Sequence[Content]) -> None:
        """These are taken again: as what they were read for, or as an object where the stream has them as one."""
        self._attempts.update((content.path, content.attempts) for content in left)
        messages: list[Content] = []
        objects: list[Content] = []
        for content in left:
            if content.data is None or self.needs_object(content):
                objects.append(content._replace(data=None, packed=False))
            else:
                messages.append(content)
        self._spool.put_back(messages)
        self._spool.put_back_large(objects)

    def put_back_later(self, later: Sequence[Later]) -> None:
        """Each of these is taken again when its time has come; until then it counts as in flight."""
        loop = asyncio.get_running_loop()
        for content, wait in later:
            loop.call_later(wait, self.put_back, [content])

    def put_back_as_message(self, content: Content) -> None:
        """The bucket can't take this file, and a message can hold it: it is read again, whole this time."""
        self._no_objects = True
        self._attempts[content.path] = content.attempts
        self._spool.put_back([content])

    def need_objects(self, found: Iterable[AsObject]) -> None:
        """The stream has these contents as objects, so a message with the bytes can't stand for them."""
        self._objects.update((one.content.sha256, one.object) for one in found)

    def needs_object(self, content: Content) -> bool:
        """Whether the stream has this content as an object."""
        return content.sha256 in self._objects

    def where_needed(self, content: Content) -> Content:
        """The content, with the object that the stream's message names, where there is one."""
        return content._replace(object=self._objects.get(content.sha256, ""))

    def object_stored(self, content: Content) -> None:
        """The bucket has this file complete."""
        self._no_objects = False
        self._objects.pop(content.sha256, None)
