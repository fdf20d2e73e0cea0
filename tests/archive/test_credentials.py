"""An env file is read as a shell would read it, and nothing that is secret is ever shown."""

from pathlib import Path

import pytest

from rlrun.archive.credentials import CHAIN, Credentials, load, warning
from rlrun.errors import ArchiveError, UsageError

SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCY"
TOKEN = "IQoJb3JpZ2luX2VjEXAMPLE"
WHOLE = f"""
# how the cluster hands it out
export AWS_ACCESS_KEY_ID=AKIDEXAMPLE
AWS_SECRET_ACCESS_KEY='{SECRET}'
AWS_SESSION_TOKEN="{TOKEN}"   # for a day
AWS_REGION = us-west-3
AWS_ENDPOINT_URL_S3=https://store.example:9000/

OTHER=ignored
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    return folder


def file_of(folder: Path, text: str) -> Path:
    path = folder / "some.env"
    path.write_text(text)
    path.chmod(0o600)
    return path


def test_a_file_gives_all_there_is(tmp_path: Path) -> None:
    file = file_of(tmp_path, WHOLE)
    assert load(file, {"AWS_REGION": "elsewhere"}) == Credentials(
        access_key="AKIDEXAMPLE",
        secret_key=SECRET,
        session_token=TOKEN,
        region="us-west-3",
        endpoint="https://store.example:9000",
        file=file,
    )


def test_without_a_file_the_chain_decides(home: Path) -> None:
    found = load(None, {"AWS_ACCESS_KEY_ID": "A", "S3_ENDPOINT_URL": "http://other"})
    assert found == Credentials(endpoint="http://other")
    assert found.source == CHAIN
    assert warning(found) is None


def test_the_default_file_is_taken_if_it_is_there(home: Path) -> None:
    (home / ".lambda_s3.env").write_text("AWS_ACCESS_KEY_ID=A\nAWS_SECRET_ACCESS_KEY=B\n")
    found = load(None, {"AWS_ENDPOINT_URL": "http://other", "AWS_DEFAULT_REGION": "here"})
    assert (found.access_key, found.secret_key) == ("A", "B")
    assert (found.endpoint, found.region) == ("http://other", "here")
    assert found.source == str(home / ".lambda_s3.env")


def test_a_file_may_name_a_profile_only(tmp_path: Path) -> None:
    found = load(file_of(tmp_path, "AWS_PROFILE=work\nAWS_SESSION_TOKEN=stale"), {})
    assert (found.profile, found.session_token, found.source) == ("work", None, CHAIN)


def test_an_s3_endpoint_comes_before_a_general_one(tmp_path: Path) -> None:
    text = "S3_ENDPOINT_URL=http://c\nAWS_ENDPOINT_URL=http://b\nAWS_ENDPOINT_URL_S3=http://a"
    assert load(file_of(tmp_path, text), {}).endpoint == "http://a"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (f"AWS_SECRET_ACCESS_KEY={SECRET}", "has no AWS_ACCESS_KEY_ID; add a line"),
        ("AWS_ACCESS_KEY_ID=A\nAWS_SECRET_ACCESS_KEY=", "has no AWS_SECRET_ACCESS_KEY; add"),
        (f"\n{SECRET}", "line 2 of credentials file .* is not NAME=VALUE"),
        (f"AWS_SECRET_ACCESS_KEY='{SECRET}", "line 1 of .* a quote that is not closed"),
        (f"AWS_SECRET_ACCESS_KEY={SECRET} more", "line 1 of .* more than one value"),
        (f"AWS_ENDPOINT_URL=https://key:{SECRET}@host", "is not http://host or https://host"),
        ("AWS_ENDPOINT_URL=store.example", "is not http://host or https://host"),
        ("AWS_ENDPOINT_URL=http://[", "is not http://host or https://host"),
    ],
)
def test_nonsense_is_refused_without_repeating_it(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence) as caught:
        load(file_of(tmp_path, text), {})
    assert SECRET not in str(caught.value)


def test_a_file_that_is_not_there_or_no_text_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not there; correct --credentials"):
        load(tmp_path / "nothing", {})
    with pytest.raises(ArchiveError, match="cannot be read"):
        load(tmp_path, {})
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(ArchiveError, match="it is not text"):
        load(tmp_path / "binary", {})


def test_a_file_that_others_can_read_is_worth_a_warning(tmp_path: Path) -> None:
    file = file_of(tmp_path, WHOLE)
    assert warning(load(file, {})) is None
    file.chmod(0o640)
    assert "run 'chmod 600" in str(warning(load(file, {})))


def test_what_was_renewed_in_the_file_is_read_again(tmp_path: Path) -> None:
    file = file_of(tmp_path, WHOLE)
    before = load(file, {})
    file.write_text(WHOLE.replace(TOKEN, "renewed"))
    assert before.reloaded().session_token == "renewed"
    assert Credentials().reloaded() == Credentials()


def test_no_text_of_credentials_shows_a_secret(tmp_path: Path) -> None:
    found = load(file_of(tmp_path, WHOLE), {})
    assert found.secrets == (SECRET, TOKEN)
    for text in (repr(found), str(found), f"{found}", str([found])):
        assert not any(secret in text for secret in (*found.secrets, "AKIDEXAMPLE"))
