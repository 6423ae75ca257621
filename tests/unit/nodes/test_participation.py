"""The books of rounds that go on without late clients, and what the experiment file may say of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from workloads import config

from nodes.chain import Chain, plan
from nodes.config import check, dispensable, read, sizes, synchronous
from nodes.participation import Attendance


def test_all_are_free_until_they_are_told_something():
    books = Attendance(["a", "b"])
    assert books.free == ["a", "b"]
    assert books.order("a") == 1
    assert books.free == ["b"]


def test_a_client_is_free_again_when_it_is_done_and_what_it_sent_is_there():
    books = Attendance(["a"])
    books.order("a")
    books.report("a", finished=1, sent=1, gave=[])
    assert books.has_finished("a")
    assert not books.is_free("a")
    books.arrived("a")
    assert books.is_free("a")


def test_an_upload_that_arrives_before_its_client_is_done_frees_nobody():
    books = Attendance(["a"])
    books.order("a")
    books.arrived("a")
    assert not books.is_free("a")


def test_of_several_orders_each_is_known_by_its_number():
    books = Attendance(["a"])
    assert [books.order("a"), books.order("a")] == [1, 2]
    books.report("a", finished=1, sent=0, gave=[])
    assert books.has_finished("a", 1)
    assert not books.has_finished("a", 2)
    assert not books.is_free("a")


def able(books):
    return [client for client in books.free if books.can_give(client)]


def test_whoever_gave_a_model_that_does_not_come_takes_part_but_does_not_give():
    books = Attendance(["a", "b", "c"])
    books.order("a")
    books.report("a", finished=1, sent=0, gave=["b"])
    assert books.free == ["a", "b", "c"]
    assert able(books) == ["b", "c"]
    books.took("a", "b")
    assert able(books) == ["a", "b", "c"]


def test_whoever_two_models_do_not_come_to_is_absent_and_their_givers_are_not_to_blame():
    books = Attendance(["a", "b", "c"])
    for giver in "ac":
        books.order(giver)
        books.report(giver, finished=1, sent=0, gave=["b"])
    assert books.free == able(books) == ["a", "c"]
    books.took("c", "b")
    assert books.free == ["a", "b", "c"]
    assert able(books) == ["b", "c"]


def test_a_model_under_way_to_someone_who_is_absent_says_nothing_of_its_giver():
    books = Attendance(["a", "b"])
    books.order("a")
    books.report("a", finished=1, sent=0, gave=["b"])
    books.order("b")
    assert able(books) == ["a"]


def test_a_model_that_is_there_before_its_giver_has_said_so_comes_out_even():
    books = Attendance(["a", "b"])
    books.order("a")
    books.took("a", "b")
    books.report("a", finished=1, sent=0, gave=["b"])
    assert books.free == ["a", "b"]


def test_whoever_is_gone_is_waited_for_no_longer_and_never_free():
    books = Attendance(["a", "b", "c"])
    books.order("b")
    books.gone("b")
    assert books.has_finished("b")
    assert books.free == ["a", "c"]
    assert books.is_gone("b")
    assert books.number_gone(["b", "c"]) == 1
    books.report("b", finished=1, sent=0, gave=[])
    assert not books.is_free("b")


def test_a_model_handed_to_someone_who_is_gone_is_under_way_no_longer():
    books = Attendance(["a", "b"])
    books.order("a")
    books.report("a", finished=1, sent=0, gave=["b"])
    assert not books.can_give("a")
    books.gone("b")
    assert books.can_give("a")


@given(st.lists(st.sampled_from(["order", "done", "arrive"]), max_size=40))
def test_nobody_is_free_who_owes_something(happened):
    """Whatever comes in whatever order, as long as nothing arrives that was not sent."""
    books = Attendance(["a"])
    ordered = finished = arrived = 0
    for what in happened:
        if what == "order":
            ordered = books.order("a")
        elif what == "done" and finished < ordered:
            finished += 1
            books.report("a", finished, sent=finished, gave=[])
        elif what == "arrive" and arrived < ordered:
            arrived += 1
            books.arrived("a")
        assert books.is_free("a") == (ordered == finished == arrived)


def test_the_model_goes_around_as_ordered():
    assert plan(["a", "b", "c"], None, "a") == [
        ("a", [["train"], ["give", "b"]]),
        ("b", [["take", "a"], ["train"], ["give", "c"]]),
        ("c", [["take", "b"], ["train"], ["give", "a"]]),
        ("a", [["take", "c"]]),
    ]


def test_whoever_trains_twice_in_a_row_keeps_the_model():
    assert plan(["a", "a"], None, "a") == [("a", [["train"]]), ("a", [["train"]])]


def test_a_giver_goes_first_and_without_a_successor_nothing_is_given():
    assert plan(["b"], "a", None) == [("a", [["give", "b"]]), ("b", [["take", "a"], ["train"]])]


def test_the_chain_goes_on_from_the_newest_model_that_can_be_had():
    chain = Chain(["a", "b", "c"])
    assert chain.giver("c", ["a", "b", "c"]) is None  # all begin with the same
    chain.trained("a")
    chain.trained("b")
    assert chain.newest(["a", "b", "c"]) == "b"
    assert chain.giver("c", ["a", "b", "c"]) == "b"
    assert chain.giver("c", ["a", "c"]) == "a"
    assert chain.giver("c", ["c"]) is None
    assert chain.giver("c", []) is None
    chain.took("b", "c")
    assert chain.giver("c", ["a", "b"]) is None
    assert chain.newest([]) is None


def refused(**participation):
    with pytest.raises(ValidationError) as caught:
        read(config(participation=participation))
    (error,) = caught.value.errors()
    return ".".join(map(str, error["loc"])), error["msg"]


def test_a_deadline_is_a_time_above_0():
    for wrong in ("0 ms", "-1 s", "unlimited"):
        assert refused(deadline=wrong)[0] == "workload.participation.deadline"
    assert "has no unit" in refused(deadline=60)[1]
    assert refused() == ("workload.participation.deadline", "Field required")


def test_other_words_are_refused():
    assert refused(deadline="1 s", at_most=3)[0] == "workload.participation.at_most"
    assert refused(deadline="1 s", at_least=0)[0] == "workload.participation.at_least"


def test_more_clients_than_there_are_cannot_be_waited_for():
    peers = {"server": ["server"], "client": ["a", "b"]}
    check(config(participation={"deadline": "1 s", "at_least": 2}), peers)
    with pytest.raises(ValueError, match=r"at_least is 3, but the testbed has 2 clients"):
        check(config(participation={"deadline": "1 s", "at_least": 3}), peers)


def test_where_clients_are_left_out_what_is_learnt_depends_on_the_times():
    assert synchronous(config())
    assert not synchronous(config(participation={"deadline": "1 s"}))


def test_a_run_goes_on_without_a_dead_client_only_where_late_ones_are_left_out():
    assert not dispensable(config())
    assert dispensable(config(participation={"deadline": "1 s"}))


def test_a_calibration_leaves_nobody_out():
    (first, *_) = sizes(config(participation={"deadline": "1 ms"}))
    assert read(first).workload.participation is None
