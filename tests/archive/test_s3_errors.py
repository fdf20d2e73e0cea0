"""Each error of a store is told apart, and becomes one sentence without a secret."""

from typing import Any

import pytest
from support.fake_s3 import Refusal

from rlrun.archive.s3_errors import Circumstances, Kind, Problem, as_error, classify, of_code
from rlrun.errors import ArchiveError, MissingObjectError

AROUND = Circumstances("bucket", "https://store.example", "/home/me/.lambda_s3.env")


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("SlowDown", 503, Kind.TRANSIENT),
        ("InternalError", 200, Kind.TRANSIENT),
        ("", 502, Kind.TRANSIENT),
        ("Weird", 500, Kind.TRANSIENT),
        ("429", 429, Kind.TRANSIENT),
        ("Weird", 429, Kind.TRANSIENT),
        ("RequestTimeout", 400, Kind.TRANSIENT),
        ("Throttling", 400, Kind.TRANSIENT),
        ("NotImplemented", 501, Kind.REFUSED),
        ("EntityTooLarge", 400, Kind.REFUSED),
        ("AccessDenied", 403, Kind.DENIED),
        ("403", 403, Kind.DENIED),
        ("401", 401, Kind.DENIED),
        ("SignatureDoesNotMatch", 403, Kind.DENIED),
        ("ExpiredToken", 400, Kind.EXPIRED),
        ("400", 400, Kind.EXPIRED),
        ("NoSuchBucket", 404, Kind.NO_BUCKET),
        ("NoSuchKey", 404, Kind.ABSENT),
        ("404", 404, Kind.ABSENT),
        ("NoSuchUpload", 404, Kind.LOST_UPLOAD),
        ("InvalidPart", 400, Kind.LOST_UPLOAD),
        ("PreconditionFailed", 412, Kind.CONFLICT),
        ("409", 409, Kind.CONFLICT),
        ("BadDigest", 400, Kind.DAMAGED),
        ("InvalidRange", 416, Kind.REFUSED),
    ],
)
def test_a_refusal_is_told_by_its_code_then_its_status(code: str, status: int, kind: Kind) -> None:
    problem = classify(Refusal(code, status))
    assert problem is not None
    assert (problem.kind, problem.status) == (kind, status)


@pytest.mark.parametrize(("text", "seconds"), [("7", 7.0), ("", None), ("tomorrow", None)])
def test_a_store_says_when_to_come_back(text: str, seconds: float | None) -> None:
    problem = classify(Refusal("SlowDown", 503, **{"retry-after": text}))
    assert problem is not None
    assert problem.retry_after == seconds


def boto_errors() -> list[tuple[Any, Kind]]:
    exceptions = pytest.importorskip("botocore.exceptions")
    url = {"endpoint_url": "https://store.example"}
    return [
        (exceptions.EndpointConnectionError(**url), Kind.UNREACHABLE),
        (exceptions.ConnectTimeoutError(**url), Kind.UNREACHABLE),
        (exceptions.ReadTimeoutError(**url), Kind.TRANSIENT),
        (exceptions.ConnectionClosedError(**url), Kind.TRANSIENT),
        (exceptions.HTTPClientError(error=OSError("reset")), Kind.TRANSIENT),
        (exceptions.IncompleteReadError(actual_bytes=1, expected_bytes=2), Kind.TRANSIENT),
        (exceptions.ResponseStreamingError(error="broken"), Kind.TRANSIENT),
        (exceptions.SSLError(**url, error="EOF"), Kind.TRANSIENT),
        (exceptions.SSLError(**url, error="CERTIFICATE_VERIFY_FAILED"), Kind.REFUSED),
        (exceptions.FlexibleChecksumError(error_msg="differs"), Kind.DAMAGED),
        (exceptions.NoCredentialsError(), Kind.DENIED),
        (exceptions.PartialCredentialsError(provider="x", cred_var="y"), Kind.DENIED),
        (exceptions.ProfileNotFound(profile="x"), Kind.DENIED),
        (exceptions.ParamValidationError(report="x"), Kind.REFUSED),
    ]


def test_what_boto3_raises_is_told_by_its_name() -> None:
    for error, kind in boto_errors():
        problem = classify(error)
        assert problem is not None
        assert problem.kind is kind, error


def test_what_the_network_raises_is_transient_and_the_rest_is_not_ours() -> None:
    for error in (ConnectionResetError(), TimeoutError(), BrokenPipeError()):
        problem = classify(error)
        assert problem is not None
        assert problem.kind is Kind.TRANSIENT
    assert classify(KeyError("x")) is None
    assert classify(PermissionError("x")) is None


@pytest.mark.parametrize("kind", Kind)
def test_each_kind_has_a_sentence_with_the_object_and_a_way_out(kind: Kind) -> None:
    error = as_error(Problem(kind, "Code", 400), "store s3://bucket/key", AROUND)
    text = str(error)
    assert text.startswith("cannot store s3://bucket/key: ")
    assert "; " in text
    assert "\n" not in text
    assert isinstance(error, MissingObjectError if kind is Kind.ABSENT else ArchiveError)


@pytest.mark.parametrize(
    ("problem", "part"),
    [
        (Problem(Kind.DENIED, "NoCredentialsError"), "no credentials were found; put"),
        (Problem(Kind.DENIED, "RequestTimeTooSkewed", 403), "this machine's clock is wrong"),
        (Problem(Kind.DENIED, "AccessDenied", 403), "check the keys in /home/me/.lambda_s3.env"),
        (Problem(Kind.NO_BUCKET, "NoSuchBucket", 404), "no bucket 'bucket' at https://store"),
        (Problem(Kind.REFUSED, "CERTIFICATE_VERIFY_FAILED"), "is not trusted; set AWS_CA_BUNDLE"),
        (Problem(Kind.REFUSED, "EntityTooLarge", 400), "refuses it (EntityTooLarge, HTTP 400)"),
        (Problem(Kind.TRANSIENT, "", 502), "gives no good answer (HTTP 502)"),
    ],
)
def test_what_has_a_way_out_of_its_own_names_it(problem: Problem, part: str) -> None:
    assert part in str(as_error(problem, "list s3://bucket", AROUND))


def test_what_a_server_writes_in_its_own_words_is_left_out() -> None:
    problem = of_code("Secret wJalrXUtnFEMI\nmore", 400)
    assert problem.code == "an unknown error"
    refusal = classify(Refusal("AccessDenied", 403))
    assert refusal is not None
    assert "words of the server" not in str(as_error(refusal, "list s3://bucket", AROUND))


def test_an_answer_that_was_spoiled_on_the_way_is_asked_for_again() -> None:
    parsers = pytest.importorskip("botocore.parsers")
    session = pytest.importorskip("botocore.session").get_session()
    operation = session.get_service_model("s3").operation_model("ListObjectsV2")
    body = (
        b"<ListBucketResult><Contents><Key>a</Key><Size>%s</Size><LastModified>%s</LastModified>"
        b"</Contents></ListBucketResult>"
    )
    for size, changed in (
        (b"5", b"2026-11-37T09:58:34.000Z"),
        (b"5x", b"2026-11-27T09:58:34.000Z"),
    ):
        answer = {"body": body % (size, changed), "headers": {}, "status_code": 200}
        with pytest.raises(ValueError) as caught:
            parsers.RestXMLParser().parse(answer, operation.output_shape)
        problem = classify(caught.value)
        assert problem is not None
        assert problem.kind is Kind.TRANSIENT
    assert classify(ValueError("a defect")) is None
