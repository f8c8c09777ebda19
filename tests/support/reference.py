"""The OMS reference implementation, as the tests call it: keys, signing, verifying.

Its own command line offers only `files` with sha256, so the other forms go through its Python
interface here. A model that verifies prints `verified` and exits 0; one that doesn't exits 3 with
the reason; anything else that goes wrong is an ordinary traceback and exit 1, so that a broken
set-up is never taken for a rejected model.
"""

import argparse
import pathlib
import sys

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from model_signing import hashing, signing, verifying

CURVES = {"P-256": ec.SECP256R1, "P-384": ec.SECP384R1, "P-521": ec.SECP521R1}
REJECTED = 3


def keys(args):
    key = ec.generate_private_key(CURVES[args.curve]())
    protection = (
        serialization.BestAvailableEncryption(args.password.encode())
        if args.password
        else serialization.NoEncryption()
    )
    form = {
        "pkcs8": serialization.PrivateFormat.PKCS8,
        "sec1": serialization.PrivateFormat.TraditionalOpenSSL,
    }[args.form]
    args.private_key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, form, protection)
    )
    args.public_key.write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM,
            serialization.PublicFormat.SubjectPublicKeyInfo,
        )
    )


def hashing_config(args):
    config = hashing.Config()
    if args.method == "shards":
        config.use_shard_serialization(
            hashing_algorithm=args.hash, shard_size=args.shard_size
        )
    else:
        config.use_file_serialization(hashing_algorithm=args.hash)
    # The reference's command line does the same for its own signature file.
    return config.set_ignored_paths(paths=[args.signature])


def sign(args):
    # The interface says `str`, the code below it wants bytes (which is also why the reference's
    # command line can't use an encrypted key at all).
    password = args.password.encode() if args.password else None
    config = signing.Config()
    config.use_elliptic_key_signer(private_key=args.private_key, password=password)
    config.set_hashing_config(hashing_config(args))
    config.sign(args.model, args.signature)


def verify(args):
    config = verifying.Config()
    config.use_elliptic_key_verifier(public_key=args.public_key)
    config.set_hashing_config(hashing_config(args))
    try:
        config.verify(args.model, args.signature)
    except (ValueError, OSError) as error:
        # OSError too: through a mount, a wrong byte is an error of the read itself.
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(REJECTED)
    print("verified")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(required=True)

    verb = verbs.add_parser("keys")
    verb.set_defaults(run=keys)
    verb.add_argument("--curve", choices=CURVES, default="P-256")
    verb.add_argument("--form", choices=["pkcs8", "sec1"], default="pkcs8")
    verb.add_argument("--private-key", type=pathlib.Path, required=True)
    verb.add_argument("--public-key", type=pathlib.Path, required=True)
    verb.add_argument("--password")

    for name, run in [("sign", sign), ("verify", verify)]:
        verb = verbs.add_parser(name)
        verb.set_defaults(run=run)
        verb.add_argument("model", type=pathlib.Path)
        verb.add_argument("--signature", type=pathlib.Path, required=True)
        verb.add_argument("--method", choices=["files", "shards"], default="files")
        verb.add_argument("--hash", choices=["sha256", "blake2", "blake3"], default="sha256")
        verb.add_argument("--shard-size", type=int, default=1_000_000_000)
        if name == "sign":
            verb.add_argument("--private-key", type=pathlib.Path, required=True)
            verb.add_argument("--password")
        else:
            verb.add_argument("--public-key", type=pathlib.Path, required=True)

    args = parser.parse_args()
    if args.run is not keys:
        # The reference excludes the signature only when both paths are of one kind.
        args.model, args.signature = args.model.resolve(), args.signature.resolve()
    args.run(args)


if __name__ == "__main__":
    main()
