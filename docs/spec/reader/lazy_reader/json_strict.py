"""JSON as section 5 has it: RFC 8259 in UTF-8, known members once, everything else passed over.

What is expected is put together from the functions below: `members({"size": number})` reads an
object with one known member. Recursion is as deep as what is expected; what is passed over may be
nested to any depth, and costs one byte a level.
"""

import re

WHITE_SPACE = re.compile(r"[ \t\n\r]*")
STRING = re.compile(r'"[^"\\\x00-\x1f]*(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*)*"')
NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
LITERAL = re.compile(r"true|false|null")
ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))")
SHORT = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


class Malformed(Exception):
    """Not JSON, or not of the form that is expected."""


class Raw(str):
    """A value as it is written."""


def parse(document, expected):
    """The one value of a document, which is bytes."""
    try:
        cursor = Cursor(document.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise Malformed(f"not UTF-8 at byte {error.start}") from None
    cursor.skip(WHITE_SPACE)
    value = expected(cursor)
    if cursor.at != len(cursor.text):
        raise cursor.error("more than one value")
    return value


class Cursor:
    """A place in a text, always before a token or at the end."""

    def __init__(self, text):
        self.text = text
        self.at = 0

    def error(self, what):
        return Malformed(f"{what} at character {self.at}")

    def peek(self):
        return self.text[self.at : self.at + 1]

    def skip(self, pattern):
        """What matches here, with the white space behind it passed over; None if nothing does."""
        match = pattern.match(self.text, self.at)
        if match is None:
            return None
        self.at = WHITE_SPACE.match(self.text, match.end()).end()
        return match.group()

    def take(self, mark):
        """Whether this mark is here. If so, it is passed over."""
        if self.peek() != mark:
            return False
        self.at = WHITE_SPACE.match(self.text, self.at + 1).end()
        return True

    def need(self, mark):
        if not self.take(mark):
            raise self.error(f"no {mark!r}")

    def string_token(self):
        token = self.skip(STRING)
        if token is None:
            raise self.error("no string")
        return token

    def pass_over(self):
        """Passes over one value of any kind."""
        open_ends = bytearray()  # the closing mark of each array and object that was begun
        while True:
            if self.take("{"):
                if not self.take("}"):
                    open_ends += b"}"
                    self.string_token()
                    self.need(":")
                    continue
            elif self.take("["):
                if not self.take("]"):
                    open_ends += b"]"
                    continue
            elif not any(self.skip(scalar) for scalar in (STRING, NUMBER, LITERAL)):
                raise self.error("no value")
            # A value ends here; so may the arrays and objects that hold it.
            while open_ends and self.take(chr(open_ends[-1])):
                open_ends.pop()
            if not open_ends:
                return
            self.need(",")
            if open_ends[-1:] == b"}":
                self.string_token()
                self.need(":")


def unescape(token):
    """The characters of a string token."""

    def character(match):
        digits, short = match.groups()
        return chr(int(digits, 16)) if digits else SHORT.get(short, short)

    text = ESCAPE.sub(character, token[1:-1])
    try:
        # Pairs of surrogates become the characters that they stand for.
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    except UnicodeDecodeError:
        raise Malformed("a string with half of a surrogate pair") from None


# What may be expected. Each reads one value at a cursor.


def string(cursor):
    return unescape(cursor.string_token())


def number(cursor):
    token = cursor.skip(NUMBER)
    if token is None:
        raise cursor.error("no number")
    return Raw(token)


def boolean(cursor):
    token = cursor.skip(LITERAL)
    if token not in ("true", "false"):
        raise cursor.error("neither true nor false")
    return token == "true"


def anything(cursor):
    """Any value, as it is written."""
    start = cursor.at
    cursor.pass_over()
    return Raw(cursor.text[start : cursor.at].rstrip(" \t\n\r"))


def or_null(expected):
    def read(cursor):
        if cursor.peek() == "n":
            if cursor.skip(LITERAL) != "null":
                raise cursor.error("no value")
            return None
        return expected(cursor)

    return read


def array_of(expected):
    def read(cursor):
        cursor.need("[")
        items = []
        if cursor.take("]"):
            return items
        while True:
            items.append(expected(cursor))
            if cursor.take("]"):
                return items
            cursor.need(",")

    return read


def members(known):
    """An object; gives the known members that are there."""

    def read(cursor):
        cursor.need("{")
        found = {}
        if cursor.take("}"):
            return found
        while True:
            name = string(cursor)
            cursor.need(":")
            if name not in known:
                cursor.pass_over()
            elif name in found:
                raise cursor.error(f"{name} occurs twice")
            else:
                found[name] = known[name](cursor)
            if cursor.take("}"):
                return found
            cursor.need(",")

    return read


def required(found, name):
    """A member that must be there and not null."""
    if found.get(name) is None:
        raise Malformed(f"no {name}")
    return found[name]
