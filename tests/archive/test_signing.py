"""The signature is botocore's, whatever is asked, and the published one of a known example."""

from datetime import UTC, datetime
from typing import Any

import pytest

from rlrun.archive.signing import Keys, Request, sign

NOW = datetime(2026, 11, 27, 1, 2, 3, tzinfo=UTC)
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_the_example_of_the_documentation() -> None:
    """GET Object of https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html."""
    request = Request(
        "GET", "examplebucket.s3.amazonaws.com", "/test.txt", {}, {"Range": "bytes=0-9"}, EMPTY
    )
    keys = Keys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    headers = sign(request, keys, "us-east-1", datetime(2013, 5, 24, tzinfo=UTC))
    assert headers["Authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
        "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, "
        "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    )


@pytest.mark.parametrize("path", ["/b/a b/ä~+%", "/key", "/b/=&?#;:@,$!*'()", "/b//x/./y"])
@pytest.mark.parametrize("query", [{}, {"partNumber": "7", "uploadId": "u/1+2 =ä~"}])
@pytest.mark.parametrize("token", [None, "T/o+k=="])
@pytest.mark.parametrize("host", ["127.0.0.1:9", "bucket.s3.eu-west-1.amazonaws.com"])
def test_it_is_botocores(
    monkeypatch: pytest.MonkeyPatch, path: str, query: dict[str, str], token: str | None, host: str
) -> None:
    auth = pytest.importorskip("botocore.auth")
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    headers = {"Content-Length": "7", "x-amz-checksum-sha256": "AAAA", "Content-MD5": " a  b "}
    request = Request("PUT", host, path, query, headers, EMPTY)
    found = sign(request, Keys("A", "s/B+", token), "eu-west-1", NOW)

    monkeypatch.setattr(auth, "get_current_datetime", lambda *_, **__: NOW)

    class Sealed(auth.S3SigV4Auth):  # type: ignore[misc]
        def payload(self, _request: Any) -> str:
            return EMPTY

    theirs = AWSRequest("PUT", f"http://{host}{request.target}", headers=headers)
    Sealed(Credentials("A", "s/B+", token), "s3", "eu-west-1").add_auth(theirs)
    assert found["Authorization"] == theirs.headers["Authorization"]


def test_keys_are_not_shown() -> None:
    assert "secret" not in f"{Keys('access', 'secret', 'token-secret')}"
