"""The command line: verifies a model, reads a range of a file, or checks test vectors.

Exits with 0 if all is well, 1 if it couldn't be tried, 3 if the signature or the statement is
refused, 4 if the content isn't what was signed.
"""

import argparse
import json
import sys

from . import bundle, lazy, statement, vectors, verify

COULD_NOT = 1
REFUSED = verify.EXIT["signature"]
DIFFERS = verify.EXIT["content"]


def trusted_key(path):
    with open(path, "rb") as file:
        return bundle.TrustedKey(file.read())


def tell_warnings(warnings):
    for path, member in warnings:
        print(f"warning: {path!r}: {member} isn't of the right form: ignored", file=sys.stderr)


def run_verify(args):
    trusted = trusted_key(args.public_key)
    verdict, warnings, differences, message = verify.judge(args.model, trusted, args.signature)
    tell_warnings(warnings)
    print(verdict if message is None else f"{verdict}: {message}")
    for path, difference in sorted(differences.items()):
        if isinstance(difference, dict):
            holds, differs = (", ".join(difference[which]) or "nothing" for which in difference)
            difference = f"{holds} holds, {differs} differs"
        print(f"{path!r}: {difference}")
    return verify.EXIT[verdict]


def run_read(args):
    trusted = trusted_key(args.public_key)
    try:
        model = verify.SignedModel(args.model, trusted, args.signature)
        tell_warnings(model.statement.warnings)
        data = lazy.read(model, args.file, args.offset, args.length, not args.no_pass)
    except (bundle.BadSignature, statement.BadStatement) as error:
        print(error, file=sys.stderr)
        return REFUSED
    except lazy.Unproved as error:
        print(error, file=sys.stderr)
        return DIFFERS
    except lazy.NeedsPass as error:
        print(error, file=sys.stderr)
        return COULD_NOT
    sys.stdout.buffer.write(data)
    return 0


def run_vectors(args):
    count, faults = vectors.check(args.folder)
    for fault in faults:
        print(fault)
    print(f"{count} vectors, {len(faults)} faults")
    return COULD_NOT if faults or not count else 0


def run_judge(args):
    """For each line of standard input, `{"model": …, "reads": […]}`, a line with what was found."""
    trusted = trusted_key(args.public_key)
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(vectors.judge(asked["model"], trusted, asked["reads"])), flush=True)
    return 0


def number(text):
    value = int(text)
    if value < 0:
        raise ValueError(text)
    return value


def main():
    parser = argparse.ArgumentParser(prog="lazy_reader", description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(required=True)

    def verb(name, run, *positional):
        added = verbs.add_parser(name, help=run.__doc__)
        for argument in positional:
            added.add_argument(argument, type=number if argument in ("offset", "length") else str)
        added.set_defaults(run=run)
        return added

    of_model = [
        verb("verify", run_verify, "model"),
        verb("read", run_read, "model", "file", "offset", "length"),
    ]
    of_model[1].add_argument("--no-pass", action="store_true", help="never read the whole file")
    for added in of_model:
        added.add_argument("--signature", help="the signature file, where it isn't model.sig")
    verb("vectors", run_vectors, "folder")
    for added in [*of_model, verb("judge", run_judge)]:
        added.add_argument("--public-key", required=True, help="the signer's key, in PEM")

    args = parser.parse_args()
    try:
        return args.run(args)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return COULD_NOT


if __name__ == "__main__":
    sys.exit(main())
