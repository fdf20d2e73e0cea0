"""What goes the short way goes to whoever has a certificate that is trusted, and to nobody else."""

import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from support.fake_s3 import b64

from rlrun.archive import blobs
from rlrun.archive.bodies import PIECE_BYTES, Body
from rlrun.archive.credentials import Credentials
from rlrun.archive.s3_errors import classify

boto3 = pytest.importorskip("boto3")
s3_client = pytest.importorskip("rlrun.archive.s3_client")
direct = pytest.importorskip("rlrun.archive.direct")

LISTING = b'<?xml version="1.0"?><ListBucketResult><Name>bucket</Name></ListBucketResult>'


class Store(BaseHTTPRequestHandler):
    """Lists nothing and takes everything."""

    protocol_version = "HTTP/1.1"
    taken: list[bytes]

    def do_GET(self) -> None:
        self._answer({"Content-Type": "application/xml"}, LISTING)

    def do_PUT(self) -> None:
        self.taken.append(self.rfile.read(int(self.headers["Content-Length"])))
        self._answer({"ETag": '"x"'}, b"")

    def _answer(self, headers: dict[str, str], body: bytes) -> None:
        self.send_response(200)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of this machine's, with its key in the same file."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes a certificate, is not installed")
    folder = tmp_path_factory.mktemp("certificate")
    words = "req -x509 -newkey rsa:2048 -nodes -days 2 -keyout key -out cert -subj /CN=store"
    names = ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(["openssl", *words.split(), *names], cwd=folder, check=True, capture_output=True)
    whole = folder / "store.pem"
    whole.write_bytes((folder / "key").read_bytes() + (folder / "cert").read_bytes())
    return whole


@pytest.fixture
def address(certificate: Path) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    Store.taken = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Store) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"https://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def put(address: str, data: bytes) -> None:
    keys = Credentials(access_key="A", secret_key="B", endpoint=address)
    client = s3_client.connect(boto3, keys, connections=2)
    body = Body(blobs.of_bytes(data), 0, len(data))
    client.put_object(Bucket="bucket", Key="key", Body=body, ChecksumSHA256=b64(data))
    assert client._address is not None
    client.close()


@pytest.mark.parametrize("data", [b"content", bytes(4 * PIECE_BYTES + 1)])
@pytest.mark.parametrize("variable", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
def test_a_certificate_that_is_trusted_is_enough(
    address: str, certificate: Path, monkeypatch: pytest.MonkeyPatch, variable: str, data: bytes
) -> None:
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)
    monkeypatch.setenv(variable, str(certificate))
    put(address, data)
    assert Store.taken == [data]


def test_nothing_is_sent_to_whoever_has_another(address: str) -> None:
    """boto3 refuses in front of it; so the connections of the short way are asked by themselves."""
    pools = direct.pools(connections=1, timeouts=(5.0, 5.0), verify=None)
    with pytest.raises(Exception, match="CERTIFICATE_VERIFY_FAILED") as caught:
        pools.connection_from_url(address).urlopen("PUT", "/bucket/key", body=b"x", retries=False)
    problem = classify(caught.value)
    assert problem is not None
    assert problem.code == "CERTIFICATE_VERIFY_FAILED"
    assert Store.taken == []
