"""Each real store keeps the contract of all stores."""

from pathlib import Path

import pytest
from support.archiving import destination_of
from support.s3_places import Place
from support.s3_servers import REGION
from support.storage_contract import *  # noqa: F403

from rlrun.archive.credentials import Credentials
from rlrun.archive.s3_storage import S3Storage


@pytest.fixture
def storage(place: Place, tmp_path: Path) -> S3Storage:
    server = place.server
    credentials = Credentials(
        server.access_key, server.secret_key, region=REGION, endpoint=server.endpoint
    )
    return S3Storage(destination_of(place), credentials, tmp_path, transfers=4)
