"""What is hidden of requests, and what stays."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cilia.hubble.proto.flow import flow_pb2
from cilia.hubble.redaction import REDACTED, Redaction


def request(url: str = "", **headers: str) -> flow_pb2.Layer7:
    keys = [flow_pb2.HTTPHeader(key=key, value=value) for key, value in headers.items()]
    return flow_pb2.Layer7(http=flow_pb2.HTTP(url=url, headers=keys))


def redacted(rule: Redaction, record: flow_pb2.Layer7) -> flow_pb2.Layer7:
    rule.redact(record)
    return record


URLS = [
    ("http://u:secret@a/b?c=d#e", f"http://u:{REDACTED}@a/b?c=d#e", "http://u:secret@a/b"),
    ("http://u:s@e@a/b", f"http://u:{REDACTED}@a/b", None),
    ("//u:secret@a", f"//u:{REDACTED}@a", None),
    ("http://u@a/b:c@d", None, None),
    ("http://a:80/b@c", None, None),
    ("/path?token=secret", None, "/path"),
    ("", None, None),
]


@pytest.mark.parametrize(("url", "without_password", "without_query"), URLS)
def test_urls(url: str, without_password: str | None, without_query: str | None) -> None:
    user = redacted(Redaction(enabled=True), request(url))
    assert user.http.url == (url if without_password is None else without_password)
    rule = Redaction(enabled=True, http_urlquery=True, http_userinfo=False)
    assert redacted(rule, request(url)).http.url == (
        url if without_query is None else without_query
    )


@pytest.mark.parametrize(
    ("rule", "hidden"),
    [
        (Redaction(enabled=True), {"Host", "Cookie"}),
        (Redaction(enabled=True, http_headers_allow=("host",)), {"Cookie"}),
        (Redaction(enabled=True, http_headers_deny=("HOST",)), {"Host"}),
        (Redaction(enabled=False, http_headers_deny=("HOST",)), set()),
    ],
)
def test_headers(rule: Redaction, hidden: set[str]) -> None:
    made = redacted(rule, request(Host="a", Cookie="b"))
    assert {one.key for one in made.http.headers if one.value == REDACTED} == hidden
    assert len(made.http.headers) == 2


def test_keys_of_kafka() -> None:
    for on in (False, True):
        record = flow_pb2.Layer7(kafka=flow_pb2.Kafka(api_key="fetch"))
        redacted(Redaction(enabled=True, kafka_apikey=on), record)
        assert record.kafka.api_key == (REDACTED if on else "fetch")


def test_a_question_is_left_as_it_is() -> None:
    record = flow_pb2.Layer7(dns=flow_pb2.DNS(query="empire.org."))
    rule = Redaction(enabled=True, http_urlquery=True, kafka_apikey=True)
    assert redacted(rule, record) == flow_pb2.Layer7(dns=flow_pb2.DNS(query="empire.org."))


def test_both_lists_are_a_contradiction() -> None:
    with pytest.raises(ValueError, match="exclude each other"):
        Redaction(http_headers_allow=("a",), http_headers_deny=("b",))


@given(user=st.text("ab%-", max_size=4), password=st.text("xyz:@%", min_size=1, max_size=8))
def test_no_password_is_left(user: str, password: str) -> None:
    url = redacted(Redaction(enabled=True), request(f"https://{user}:{password}@host/p")).http.url
    assert url == f"https://{user}:{REDACTED}@host/p"
