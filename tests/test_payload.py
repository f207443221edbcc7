"""A place in a row of a payload log, and what a row is there: without Spark."""

import json
from typing import Any

import pytest

from schemas.reasons import OTHER_SHAPE, UNPARSED, UNREADABLE
from spark_jobs.imported.paths import EACH, parse
from spark_jobs.imported.payload import Pass, Wanted, passes_of

# --- the grammar ---


@pytest.mark.parametrize(
    ("text", "column", "steps"),
    [
        ("a", "a", ()),
        ("response.score", "response", ("score",)),
        ("payload.instances[].score", "payload", ("instances", EACH, "score")),
        ("outputs[0].data[]", "outputs", (0, "data", EACH)),
        ("data[][12]", "data", (EACH, 12)),
        ("P(late).log odds", "P(late)", ("log odds",)),
        ('"asked.at".day', "asked.at", ("day",)),
        ('a."b[0]"."say ""hi"""', "a", ("b[0]", 'say "hi"')),
        ("größe.日本", "größe", ("日本",)),
    ],
)
def test_a_path_is_a_column_and_the_way_from_there(text: str, column: str, steps: Any) -> None:
    assert parse(text)[1:] == (column, steps)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no name at character 1"),
        (".a", "no name at character 1"),
        ("a.", "no name at character 3"),
        ("a..b", "no name at character 3"),
        ("[]", "no name at character 1"),
        ("a.[0]", "no name at character 3"),
        ('a.""', "no name at character 3"),
        ('a."b', "no name at character 3"),
        ('a"b"', "'\"' at character 2"),
        ("a[", r"'\[' at character 2"),
        ("a[1", r"'\[' at character 2"),
        ("a[-1]", r"'\[' at character 2"),
        ("a[b]", r"'\[' at character 2"),
        ("a]", "']' at character 2"),
        ("a[0]b", "'b' at character 5"),
        ("a[][]", "more than once"),
        ("a[].b[]", "more than once"),
    ],
)
def test_what_is_no_path_is_refused_with_its_place(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        parse(text)


# --- rows ---

ID = Wanted("instance_id", parse("request.ids[]"), "key", optional=False)
SCORE = Wanted("prediction", parse("response.scores[].p"), "number", optional=False)
VERSION = Wanted("model_version", parse("response.model"), "named", optional=False)
SKETCH = Wanted("sketch", parse("response.scores[].v"), "numbers", optional=True)


def passes(response: Any, *wanted: Wanted, request: Any = None) -> list[Pass]:
    def written(value: Any) -> Any:
        return value if isinstance(value, str | bytes | None) else json.dumps(value)

    row = {"response": written(response), "request": written(request)}
    return passes_of(row, wanted or (VERSION, SCORE))


def test_a_row_of_many_instances_is_a_pass_of_each_with_its_place() -> None:
    response = {"model": 7, "scores": [{"p": 0.25, "v": [1, None]}, {"p": 1e-7}]}
    found = passes(response, ID, VERSION, SCORE, SKETCH, request={"ids": ["a", 10**20]})
    assert [one.values for one in found] == [
        {"instance_id": "a", "model_version": "7", "prediction": "0.25", "sketch": [1.0, None]},
        {
            "instance_id": "1" + "0" * 20,
            "model_version": "7",
            "prediction": "1e-07",
            "sketch": None,
        },
    ]
    assert [(one.place, one.fault) for one in found] == [(0, None), (1, None)]


def test_json_in_a_string_is_gone_into_however_often_it_is_in_one() -> None:
    inner = json.dumps(json.dumps({"scores": [{"p": 0.5}]}))
    row = {"response": json.dumps({"body": inner})}
    deep = Wanted("prediction", parse("response.body.scores[].p"), "number", optional=False)
    assert [one.values for one in passes_of(row, [deep])] == [{"prediction": "0.5"}]
    assert passes('{"model": "ü"}'.encode(), VERSION)[0].values == {"model_version": "ü"}


@pytest.mark.parametrize(
    ("response", "reason", "told"),
    [
        ('{"model": 7, "sc', UNPARSED, "records.model_version = 'response.model': no JSON: "),
        (b'\xff{"model": 7}', UNPARSED, "no JSON: 'utf-8'"),
        ("[" * 100_000, UNPARSED, "no JSON"),
        ("late", UNPARSED, "no JSON"),
        ({"model": 7}, OTHER_SHAPE, "no 'scores' in an object that has 'model'"),
        ({"outputs": []}, OTHER_SHAPE, "no 'model' in an object that has 'outputs'"),
        ({}, OTHER_SHAPE, "no 'model' in an object that has nothing"),
        ([7], OTHER_SHAPE, "a list where an object is meant, at 'model'"),
        (7, OTHER_SHAPE, "the number 7 where an object is meant, at 'model'"),
        ({"model": 7, "scores": {"p": 1}}, OTHER_SHAPE, "an object where a list is meant"),
        ({"model": 7, "scores": 0.5}, OTHER_SHAPE, "the number 0.5 where a list is meant"),
        ({"model": 1.5, "scores": []}, OTHER_SHAPE, "the number 1.5 where a text, a whole number"),
        ({"model": {}, "scores": []}, OTHER_SHAPE, "an object where a text"),
        ({"model": "\ud800", "scores": []}, UNREADABLE, r"'\ud800' is no text"),
    ],
)
def test_a_row_that_cannot_be_read_is_one_reject_and_says_why(
    response: Any, reason: str, told: str
) -> None:
    (found,) = passes(response)
    assert (found.fault, found.place) == (reason, None)
    assert found.why is not None
    assert told in found.why


def test_what_is_known_of_a_row_that_cannot_be_read_is_kept() -> None:
    (found,) = passes({"model": 7, "scores": "?"})
    assert (found.values, found.fault) == ({"model_version": "7"}, UNPARSED)


def test_of_many_those_that_are_odd_alone_are_rejects() -> None:
    scores = [{"p": 0.5}, {"q": 1}, {"p": True}, {"p": [0.5]}, 0.5, {"p": None}, {"p": "0.25"}]
    found = passes({"model": "a", "scores": scores})
    assert [one.place for one in found] == list(range(7))
    assert [one.fault for one in found] == [None, *[OTHER_SHAPE] * 4, None, None]
    assert [one.values.get("prediction") for one in found] == ["0.5", *[None] * 5, "0.25"]
    told = "records.prediction = 'response.scores[].p': the flag true where a number is meant"
    assert found[2].why == told


def test_lists_of_one_row_that_differ_in_length_are_a_reject() -> None:
    response = {"scores": [{"p": 0.5}, {"p": 0.25}]}
    (found,) = passes(response, ID, SCORE, request={"ids": ["a", "b", "c"]})
    told = "lists of one row differ in length: request.ids[] has 3, response.scores[].p has 2"
    assert (found.fault, found.why) == (OTHER_SHAPE, told)


@pytest.mark.parametrize("nothing", [None, "", "null", {"model": None, "scores": None}])
def test_nothing_is_one_pass_without_values_and_not_lost(nothing: Any) -> None:
    """Which the rules of records refuse for what it lacks."""
    (found,) = passes(nothing)
    assert (found.values, found.fault) == ({"model_version": None}, None)


def test_an_empty_list_is_one_pass_without_values_and_not_lost() -> None:
    (found,) = passes({"model": 7, "scores": []})
    assert (found.values, found.fault, found.place) == ({"model_version": "7"}, None, None)


def test_a_list_that_may_be_absent_is_nothing_to_each() -> None:
    sketch = Wanted("sketch", parse("response.vectors[]"), "numbers", optional=True)
    found = passes({"scores": [{"p": 0.5}, {"p": 0.25}]}, SCORE, sketch)
    assert [one.values for one in found] == [
        {"prediction": "0.5", "sketch": None},
        {"prediction": "0.25", "sketch": None},
    ]


def test_the_third_of_two_is_not_there() -> None:
    third = Wanted("prediction", parse("response[2]"), "number", optional=False)
    (found,) = passes([0.5, 0.25], third)
    assert found.why == "records.prediction = 'response[2]': the list has 2 entries, none at [2]"
    (found,) = passes([0.5, 0.25], third._replace(optional=True))
    assert found.values == {"prediction": None}
