"""How a file is cut, and where an upload goes on: for any file, and any state of the bucket."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncdaemon.publish.objects import resume
from syncdaemon.publish.objects.resume import Found, GoOn, decide
from syncdaemon.stream import object_format
from syncdaemon.stream.object_format import Chunk

DIGEST = sha256(b"evidence").hexdigest()
DIGESTS = st.binary(max_size=8).map(lambda data: sha256(data).hexdigest())
SITES = st.from_regex(r"[a-z0-9-]{1,63}", fullmatch=True)
SIZES = st.sampled_from(resume.SIZES)


@given(st.integers(0, 1 << 21), st.integers(0, 1 << 20))
def test_a_chunk_fits_with_its_headers(room: int, wanted: int) -> None:
    """The largest that does, and is not larger than wanted."""
    found = resume.size_within(room, wanted)

    fitting = [size for size in resume.SIZES if size <= wanted and size + resume.HEADERS <= room]
    assert found == (max(fitting) if fitting else None)


class TestWhereItGoesOn:
    """`decide`."""

    NUID = "N" * 22

    def found(self, count: int, number: int, age: float = 0.0, generation: int = 3) -> Found:
        return Found(count, 100, Chunk(self.NUID, number, generation, "a" * 32).id, age)

    def test_with_nothing_there_at_the_beginning(self) -> None:
        """Expected is that nothing is there."""
        assert decide(Found(0), self.NUID, 10) == GoOn(0, 0, 0, "")

    @given(st.integers(1, 1000), st.integers(0, 1000))
    def test_behind_the_last_chunk(self, there: int, missing: int) -> None:
        """Also where that is the end."""
        assert decide(self.found(there, there - 1), self.NUID, there + missing) == GoOn(there, 100, 3, "a" * 32)

    @given(st.integers(1, 100), st.integers(0, 100), st.integers(1, 100))
    def test_only_without_a_hole(self, there: int, number: int, total: int) -> None:
        """As many as the last one's number says, and no more than the file has."""
        decided = decide(self.found(there, number), self.NUID, total)

        assert isinstance(decided, GoOn) == (number == there - 1 and there <= total)

    @pytest.mark.parametrize("last", ["", "?", Chunk("M" * 22, 4, 0, "a" * 32).id])
    def test_only_behind_a_chunk_of_this_upload(self, last: str) -> None:
        """Somebody else's, or none with an id."""
        assert "not ours" in str(decide(Found(5, 100, last), self.NUID, 10))

    def test_only_within_two_weeks(self) -> None:
        """And nobody takes it out for another two."""
        assert isinstance(decide(self.found(5, 4, 14 * 86_400.0), self.NUID, 10), GoOn)
        assert decide(self.found(5, 4, 15 * 86_400.0), self.NUID, 10) == "its last chunk is 15 days old"
        assert resume.ABANDONED_SECONDS == 28 * 86_400


class TestWhatNobodyAccountsFor:
    """`unaccounted`: what the janitor has a closer look at."""

    @given(st.dictionaries(DIGESTS, st.tuples(SIZES, SITES), max_size=8), st.data())
    def test_uploads_without_an_object(self, uploads: dict[str, tuple[int, str]], data: st.DataObject) -> None:
        """Each object accounts for its own upload; others have none yet, or never will."""
        nuids = {digest: object_format.nuid_of(digest, *upload) for digest, upload in uploads.items()}
        whole = data.draw(st.sets(st.sampled_from(sorted(nuids)))) if nuids else set()

        found = resume.unaccounted(nuids.values(), [*whole, "another client's object"])
        assert found == {nuid for digest, nuid in nuids.items() if digest not in whole}

    def test_several_uploads_of_one_object(self) -> None:
        """Its meta knows which one it is: all are looked at."""
        nuids = [object_format.nuid_of(DIGEST, 1024, "here"), object_format.nuid_of(DIGEST, 2048, "there")]

        assert resume.unaccounted(nuids, [DIGEST]) == set(nuids)
        assert resume.unaccounted(nuids[:1], [DIGEST]) == set()

    def test_uploads_of_others(self) -> None:
        """Are of other names."""
        assert resume.unaccounted(["another"], ["its name"]) == {"another"}
