"""Query of a request, with and without escapes."""

from urllib.parse import parse_qsl

from hypothesis import example, given
from hypothesis import strategies as st

from realtime_bridge.server.http.request import Message, Request


async def receive() -> Message:
    raise AssertionError("a query needs no body")


@given(st.text("ab=&%+;2 é\x00", max_size=20))
@example("")
@example("a&&b=&=c&a=1&a==2")
def test_query_is_read_as_python_reads_it(text: str) -> None:
    query = text.encode("latin-1")
    request = Request({"type": "http", "query_string": query}, receive)
    expected = parse_qsl(text, keep_blank_values=True)
    assert request.query_params == dict(expected)
    assert request.query_list("a") == [value for name, value in expected if name == "a"]
