"""Verifies a statement of `model-fs attest` with libraries that aren't ours, and prints it.

attest.py ENVELOPE PUBLIC_KEY
    securesystemslib verifies the DSSE envelope, in_toto_attestation validates the statement; exits
    with 3 if the signature isn't by that key
"""

import json
import sys

import in_toto_attestation.v1.statement_pb2 as statement_pb2
from cryptography.hazmat.primitives import serialization
from google.protobuf import json_format
from in_toto_attestation.v1.statement import Statement
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey

with open(sys.argv[1], "rb") as file:
    data = json.load(file)
with open(sys.argv[2], "rb") as file:
    public = serialization.load_pem_public_key(file.read())
# The library looks at signatures of keys by their name only.
[signature] = data["signatures"]
key = SSlibKey.from_crypto(public, keyid=signature["keyid"])
envelope = Envelope.from_dict(data)
try:
    envelope.verify([key], 1)
except VerificationError as error:
    print(error, file=sys.stderr)
    sys.exit(3)
assert envelope.payload_type == "application/vnd.in-toto+json", envelope.payload_type
parsed = json_format.Parse(envelope.payload, statement_pb2.Statement())
Statement.copy_from_pb(parsed).validate()
sys.stdout.buffer.write(envelope.payload)
