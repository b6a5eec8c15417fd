# Copyright (c) 2026, Lifeboat contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an S3 failure means: whether trying again may help, and what the user is told.

Only the server's error code and message go into errors, never its whole answer: that repeats parts
of the signed request.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..errors import LifeboatError, PreconditionError, StorageError
from ..thirdparty import require


class GaveUp(Exception):
    """Within an attempt: its time is up, or nobody wants its result any more."""


@dataclass(frozen=True)
class Diagnosis:
    """One cause of failure."""

    code: str
    happened: str
    remedy: str
    transient: bool = False
    kind: type[LifeboatError] = StorageError

    def error(self, attempted: str, tried_seconds: float | None = None) -> LifeboatError:
        """The error that ends the job; with the time for which it was tried in vain."""
        tried = f" It was tried for {tried_seconds:.0f} s." if tried_seconds is not None else ""
        return self.kind(attempted, f"{self.happened}{tried}", self.remedy, code=self.code)


BUCKET_MISSING = Diagnosis(
    "storage_bucket_missing",
    "the bucket does not exist.",
    "Correct the bucket's name in the repository's URL, or create the bucket.",
    kind=PreconditionError,
)
NOT_PERMITTED = Diagnosis(
    "storage_not_permitted",
    "the server denies it to these credentials.",
    "Let them list the bucket and read, write and delete objects below the repository's prefix.",
)
KEY_UNKNOWN = Diagnosis(
    "storage_access_key_unknown",
    "the server does not know this access key.",
    "Correct the credentials, or s3_endpoint if they are for another server.",
)
SECRET_WRONG = Diagnosis(
    "storage_secret_wrong",
    "the server refuses the signature: the secret key does not belong to the access key.",
    "Correct the secret key. If it is right, check s3_region and any proxy that changes requests.",
)
CREDENTIALS_MISSING = Diagnosis(
    "storage_credentials_missing",
    "no credentials were found.",
    "Name a file with s3_credentials_file, a profile with s3_profile, or give the machine a role. The server's"
    " archive_command does not see the environment of a play or a shell.",
    kind=PreconditionError,
)
CREDENTIALS_EXPIRED = Diagnosis(
    "storage_credentials_expired",
    "the credentials have expired.",
    "Renew them, then run again; backups made before are untouched.",
)
CLOCK_SKEWED = Diagnosis(
    "storage_clock_skewed",
    "this machine's clock and the server's differ too much.",
    "Set the clock, for example with chrony or systemd-timesyncd, then run again.",
    kind=PreconditionError,
)
REGION_WRONG = Diagnosis(
    "storage_region_wrong",
    "the bucket is in another region than the request was signed for.",
    "Set s3_region to the bucket's region.",
    kind=PreconditionError,
)
ARCHIVED = Diagnosis(
    "object_archived",
    "the object is in an archive tier and must be thawed before it can be read.",
    "Restore it to a readable tier with the provider's tools, then run again.",
)
FULL = Diagnosis(
    "storage_full",
    "the storage is full, or a quota is used up.",
    "Make room or raise the quota, then run again; backups made before are untouched.",
)
THROTTLED = Diagnosis(
    "storage_throttled",
    "the server keeps asking to slow down.",
    "Run with fewer jobs or at another time, or raise the limits of the bucket.",
    transient=True,
)
DAMAGED_ON_THE_WAY = Diagnosis(
    "storage_damages_data",
    "the server received other bytes than were sent, each time.",
    "Look for a proxy or network device between here and the server that changes data.",
    transient=True,
)
UNREACHABLE = Diagnosis(
    "storage_unreachable",
    "the server cannot be reached.",
    "Check s3_endpoint, the network and any firewall or proxy between here and the server.",
    transient=True,
)
CONNECTION_LOST = Diagnosis(
    "storage_connection_lost",
    "the connection to the server broke or fell silent.",
    "Check the network and the server's health, then run again; what was stored before is untouched.",
    transient=True,
)
CERTIFICATE_REFUSED = Diagnosis(
    "storage_certificate_refused",
    "the server's certificate is not trusted.",
    "Set s3_ca_file to the authority that signed it, or correct the host name in s3_endpoint.",
    kind=PreconditionError,
)
TLS_NOT_SPOKEN = Diagnosis(
    "storage_tls_failed",
    "what answers there does not speak TLS.",
    "Correct the port in s3_endpoint, or begin it with http:// if that is really meant.",
    kind=PreconditionError,
)
PROFILE_UNKNOWN = Diagnosis(
    "storage_profile_unknown",
    "none of this user's AWS configuration files has the profile.",
    "Correct s3_profile, or name the credentials' file with s3_credentials_file.",
    kind=PreconditionError,
)
CONDITION_FAILED = Diagnosis(
    "storage_condition_failed",
    "another write came first.",
    "Run again.",
)

_BY_ERROR_CODE = {
    "NoSuchBucket": BUCKET_MISSING,
    "AccessDenied": NOT_PERMITTED,
    "AllAccessDisabled": NOT_PERMITTED,
    "InvalidAccessKeyId": KEY_UNKNOWN,
    "SignatureDoesNotMatch": SECRET_WRONG,
    "ExpiredToken": CREDENTIALS_EXPIRED,
    "ExpiredTokenException": CREDENTIALS_EXPIRED,
    "TokenRefreshRequired": CREDENTIALS_EXPIRED,
    "InvalidToken": CREDENTIALS_EXPIRED,
    "RequestTimeTooSkewed": CLOCK_SKEWED,
    "AuthorizationHeaderMalformed": REGION_WRONG,
    "PermanentRedirect": REGION_WRONG,
    "InvalidObjectState": ARCHIVED,
    "QuotaExceeded": FULL,
    "XMinioStorageFull": FULL,
    "SlowDown": THROTTLED,
    "Throttling": THROTTLED,
    "ThrottlingException": THROTTLED,
    "RequestLimitExceeded": THROTTLED,
    "TooManyRequests": THROTTLED,
    "BadDigest": DAMAGED_ON_THE_WAY,
    "XAmzContentSHA256Mismatch": DAMAGED_ON_THE_WAY,
    "RequestTimeout": CONNECTION_LOST,
    "PreconditionFailed": CONDITION_FAILED,
}
_BY_STATUS = {403: NOT_PERMITTED, 412: CONDITION_FAILED, 429: THROTTLED, 507: FULL}
# 409: another operation on the object is under way.
_TRANSIENT_STATUSES = frozenset({408, 409, 500, 502, 503, 504})

# Names in botocore.exceptions; the first that fits decides.
_BY_EXCEPTION = (
    ("ProfileNotFound", PROFILE_UNKNOWN),
    ("NoCredentialsError", CREDENTIALS_MISSING),
    ("PartialCredentialsError", CREDENTIALS_MISSING),
    ("CredentialRetrievalError", CREDENTIALS_MISSING),
    ("TokenRetrievalError", CREDENTIALS_EXPIRED),
    ("SSOError", CREDENTIALS_EXPIRED),
    ("EndpointConnectionError", UNREACHABLE),
    ("ConnectTimeoutError", UNREACHABLE),
    ("ProxyConnectionError", UNREACHABLE),
    ("HTTPClientError", CONNECTION_LOST),
    ("ResponseStreamingError", CONNECTION_LOST),
    ("IncompleteReadError", CONNECTION_LOST),
)


def error_code(exc: BaseException) -> str:
    """The server's error code, empty when it gave none."""
    return str(_answer(exc).get("Error", {}).get("Code", ""))


def status(exc: BaseException) -> int:
    """The HTTP status of the server's answer, 0 when there was none."""
    return int(_answer(exc).get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _answer(exc: BaseException) -> dict[str, Any]:
    answer = getattr(exc, "response", None)  # HTTPClientError has the attribute too, with something else or None
    return answer if isinstance(answer, dict) else {}


def diagnose(exc: BaseException) -> Diagnosis:
    """What this failure of a call means."""
    known = _BY_ERROR_CODE.get(error_code(exc)) or _BY_STATUS.get(status(exc))
    if known is not None:
        return known
    if status(exc):
        said = " ".join(f"{error_code(exc)} {_answer(exc).get('Error', {}).get('Message') or ''}".split())
        return Diagnosis(
            "storage_failed",
            f"the server answered {status(exc)} ({said}).",
            "Look this answer up in the server's documentation or logs.",
            transient=status(exc) in _TRANSIENT_STATUSES,
        )
    exceptions = require("botocore.exceptions")
    if isinstance(exc, (GaveUp, OSError, require("urllib3.exceptions").HTTPError)):
        return CONNECTION_LOST
    if isinstance(exc, exceptions.SSLError):
        return _tls_failure(str(exc).upper())
    for name, diagnosis in _BY_EXCEPTION:
        if isinstance(exc, getattr(exceptions, name, ())):
            return diagnosis
    return Diagnosis(
        "storage_failed", f"{type(exc).__name__}: {exc}.", "Check the repository's URL and its s3_ settings."
    )


def _tls_failure(said: str) -> Diagnosis:
    """By OpenSSL's words; what is neither about certificates nor about the protocol is a connection that broke."""
    if "CERTIFICATE" in said:
        return CERTIFICATE_REFUSED
    return TLS_NOT_SPOKEN if "WRONG_VERSION_NUMBER" in said or "RECORD_LAYER_FAILURE" in said else CONNECTION_LOST
