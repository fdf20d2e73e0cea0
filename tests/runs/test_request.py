"""The orders of a session cross to its process unchanged."""

from hypothesis import given
from hypothesis import strategies as st

from rlrun.config.load import config_from_dict, config_to_dict, load_config
from rlrun.runs.request import SessionRequest

REQUESTS = st.builds(
    SessionRequest,
    steps=st.none() | st.integers(min_value=1),
    max_seconds=st.none() | st.floats(min_value=0, allow_nan=False, allow_infinity=False),
    from_step=st.none() | st.integers(min_value=0),
    device=st.text(),
    allow_inexact=st.booleans(),
    config=st.none() | st.dictionaries(st.text(), st.integers() | st.text()),
    changes=st.lists(st.text()).map(tuple),
)


@given(REQUESTS)
def test_a_request_comes_back_equal(request: SessionRequest) -> None:
    assert SessionRequest.from_text(request.to_text()) == request


def test_a_new_configuration_comes_back_equal() -> None:
    config = load_config("tiny", ["saving.every_seconds=0.1"]).config
    request = SessionRequest(config=config_to_dict(config))
    found = SessionRequest.from_text(request.to_text())
    assert found.config is not None
    assert config_from_dict(dict(found.config), "the request") == config
