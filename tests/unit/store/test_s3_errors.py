# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every way in which an S3 call fails has its own code, and says what to do."""

from __future__ import annotations

import ssl

import pytest
import urllib3.exceptions
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.errors import StorageError
from ansible_collections.lifeboat.postgresql.plugins.module_utils._engine.store.s3_errors import GaveUp, diagnose
from botocore import exceptions

ENDPOINT = {"endpoint_url": "https://s3.example"}


def refused(status: int, code: str, message: str = "") -> exceptions.ClientError:
    answer = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return exceptions.ClientError(answer, "PutObject")


@pytest.mark.parametrize(
    ("exc", "code", "transient"),
    [
        (refused(404, "NoSuchBucket"), "storage_bucket_missing", False),
        (refused(403, "AccessDenied"), "storage_not_permitted", False),
        (refused(403, "403"), "storage_not_permitted", False),
        (refused(403, "InvalidAccessKeyId"), "storage_access_key_unknown", False),
        (refused(403, "SignatureDoesNotMatch"), "storage_secret_wrong", False),
        (refused(400, "ExpiredToken"), "storage_credentials_expired", False),
        (refused(403, "RequestTimeTooSkewed"), "storage_clock_skewed", False),
        (refused(400, "AuthorizationHeaderMalformed"), "storage_region_wrong", False),
        (refused(301, "PermanentRedirect"), "storage_region_wrong", False),
        (refused(403, "QuotaExceeded"), "storage_full", False),
        (refused(507, "InsufficientStorage"), "storage_full", False),
        (refused(403, "InvalidObjectState"), "object_archived", False),
        (refused(503, "SlowDown"), "storage_throttled", True),
        (refused(429, "429"), "storage_throttled", True),
        (refused(400, "BadDigest"), "storage_damages_data", True),
        (refused(400, "XAmzContentSHA256Mismatch"), "storage_damages_data", True),
        (refused(400, "RequestTimeout"), "storage_connection_lost", True),
        (refused(409, "ConditionalRequestConflict"), "storage_failed", True),
        (refused(500, "InternalError"), "storage_failed", True),
        (refused(502, "502"), "storage_failed", True),
        (refused(400, "InvalidRequest"), "storage_failed", False),
        (refused(501, "NotImplemented"), "storage_failed", False),
        (exceptions.NoCredentialsError(), "storage_credentials_missing", False),
        (exceptions.PartialCredentialsError(provider="env", cred_var="x"), "storage_credentials_missing", False),
        (exceptions.ProfileNotFound(profile="x"), "storage_profile_unknown", False),
        (exceptions.EndpointConnectionError(**ENDPOINT), "storage_unreachable", True),
        (exceptions.ConnectTimeoutError(**ENDPOINT), "storage_unreachable", True),
        (exceptions.ReadTimeoutError(**ENDPOINT), "storage_connection_lost", True),
        (exceptions.ConnectionClosedError(**ENDPOINT), "storage_connection_lost", True),
        (exceptions.HTTPClientError(error="broken pipe"), "storage_connection_lost", True),
        (exceptions.ResponseStreamingError(error="reset"), "storage_connection_lost", True),
        (exceptions.IncompleteReadError(actual_bytes=1, expected_bytes=2), "storage_connection_lost", True),
        (urllib3.exceptions.SSLError("EOF occurred"), "storage_connection_lost", True),
        (ConnectionResetError(), "storage_connection_lost", True),
        (GaveUp(), "storage_connection_lost", True),
        (exceptions.ParamValidationError(report="x"), "storage_failed", False),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_failure_has_its_code(exc: Exception, code: str, transient: bool) -> None:
    diagnosis = diagnose(exc)
    assert (diagnosis.code, diagnosis.transient) == (code, transient)
    error = diagnosis.error("writing")
    assert isinstance(error, StorageError) and error.code == code
    assert error.happened.endswith(".") and error.remedy.endswith(".")


@pytest.mark.parametrize(
    ("said", "code", "transient"),
    [
        ("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed certificate", "storage_certificate_refused", False),
        ("hostname 'a' doesn't match 'b'", "storage_certificate_refused", False),
        ("[X509: NO_CERTIFICATE_OR_CRL_FOUND] no certificate or crl found", "storage_certificate_refused", False),
        ("[SSL: WRONG_VERSION_NUMBER] wrong version number", "storage_tls_failed", False),
        ("[SSL] record layer failure", "storage_tls_failed", False),
        ("EOF occurred in violation of protocol", "storage_connection_lost", True),
    ],
)
def test_failures_of_tls_are_told_apart(said: str, code: str, transient: bool) -> None:
    diagnosis = diagnose(exceptions.SSLError(error=ssl.SSLError(said), **ENDPOINT))
    assert (diagnosis.code, diagnosis.transient) == (code, transient)


def test_an_answer_nobody_foresaw_is_shown() -> None:
    assert "499 (Odd A strange case)" in diagnose(refused(499, "Odd", "A strange\ncase")).happened


def test_what_was_tried_in_vain_says_for_how_long() -> None:
    assert "It was tried for 12 s." in diagnose(refused(503, "SlowDown")).error("reading", 12.3).message
