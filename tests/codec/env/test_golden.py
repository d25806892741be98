"""An id that was given once is given forever."""

from tests.codec.env.golden import golden, ids, kept_ids


def test_the_ids_are_those_that_were_written_down():
    assert ids() == kept_ids()


def test_there_are_enough_of_them_and_no_two_are_alike():
    assert len(golden()) >= 40
    assert len(set(kept_ids().values())) == len(golden())
