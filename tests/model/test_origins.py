"""Tests of origins, as settings list them and as browsers send them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime_bridge.errors import ConfigurationError
from realtime_bridge.model.origins import parse_origin, read_origin
from realtime_bridge.settings import Settings


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("https://app.x", "https://app.x"),
        ("https://app.x/", "https://app.x"),
        ("https://app.x:443", "https://app.x"),
        ("http://app.x:80/", "http://app.x"),
        ("https://app.x:80", "https://app.x:80"),
        ("HTTPS://App.X:8443", "https://app.x:8443"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://127.0.0.1:3000", "http://127.0.0.1:3000"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
        ("https://*.example.com", "https://*.example.com"),
        ("https://*.Example.com:443/", "https://*.example.com"),
        ("http://*.localhost:3000", "http://*.localhost:3000"),
        ("capacitor://localhost", "capacitor://localhost"),
        ("chrome-extension://abcdef", "chrome-extension://abcdef"),
    ],
)
def test_listed_origin_is_normalized(text: str, normal: str) -> None:
    assert Settings(origins=(text,)).origins == (normal,)
    assert str(parse_origin(normal)) == normal


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("*", "would admit every page"),
        ("https://*", "host is not valid"),
        ("https://*.x", "name the domain too"),
        ("https://*.com", "name the domain too"),
        ("https://a.*.com", "host is not valid"),
        ("https://*a.com", "host is not valid"),
        ("app.x", "begins with https://"),
        ("app.x:8080", "begins with https://"),
        ("localhost:3000", "begins with https://"),
        ("//app.x", "begins with https://"),
        ("https:app.x", "begins with https://"),
        ("null", "begins with https://"),
        ("https://app.x/path", "ends after its host and port"),
        ("https://app.x/#a", "ends after its host and port"),
        ("https://app.x?a=1", "ends after its host and port"),
        ("https://user:pw@app.x", "ends after its host and port"),
        ("https://a.x;https://b.x", "separate origins by commas"),
        ("https://a.x https://b.x", "separate origins by commas"),
        ('["https://a.x", "https://b.x"]', "without brackets and quotes"),
        ("'https://a.x'", "without brackets and quotes"),
        ("[https://a.x]", "without brackets and quotes"),
        ("https://a..x", "host is not valid"),
        ("https://a.x:99999", "REALTIME_ORIGINS: "),
        ("https://a.x:port", "REALTIME_ORIGINS: "),
        ("https://[::1", "REALTIME_ORIGINS: "),
    ],
)
def test_text_that_matches_no_page_is_refused_with_the_form(
    monkeypatch: pytest.MonkeyPatch, text: str, form: str
) -> None:
    monkeypatch.setenv("REALTIME_ORIGINS", text)
    with pytest.raises(ConfigurationError) as caught:
        Settings.load()
    assert "REALTIME_ORIGINS: " in str(caught.value)
    assert form in str(caught.value)
    assert "for example REALTIME_ORIGINS=https://app.example.com" in str(caught.value)
    assert "pw" not in str(caught.value)


@given(st.text(max_size=40) | st.from_regex(r"https?://[^/]{0,20}", fullmatch=True))
def test_any_text_is_an_origin_or_none(text: str) -> None:
    origin = read_origin(text)
    assert origin is None or parse_origin(str(origin)) == origin
