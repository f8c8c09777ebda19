"""Where content comes from: a directory, or a file, that the adversary owns."""

import os
import stat


class Missing(Exception):
    """There is no regular file of that name."""


class EndsEarly(Exception):
    """The file has fewer bytes than it should have."""


class Source:
    """A model: a directory with all that lies in it, or a file in a directory."""

    def __init__(self, model):
        self.is_file = os.path.isfile(model)
        self.root = os.path.dirname(os.path.abspath(model)) if self.is_file else model
        self.name = os.path.basename(model)

    def signature(self):
        """Where the signature usually is."""
        if self.is_file:
            return os.path.join(self.root, self.name + ".sig")
        return os.path.join(self.root, "model.sig")

    def open(self, path, follow=False):
        """A descriptor of a regular file; links only if they are allowed."""
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW)
        at = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        *directories, file = path.split("/")
        try:
            for directory in directories:
                at, above = os.open(directory, flags | os.O_DIRECTORY, dir_fd=at), at
                os.close(above)
            descriptor = os.open(file, flags, dir_fd=at)
        except OSError as error:
            raise Missing(f"{path!r}: {error.strerror}") from None
        finally:
            os.close(at)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise Missing(f"{path!r}: no regular file")
        return descriptor

    def names(self, passed_over, follow=False):
        """The paths of all that is there and no directory, but for what is passed over."""
        if self.is_file:
            yield self.name
            return
        folders = [""]
        while folders:
            folder = folders.pop()
            for entry in os.scandir(os.path.join(self.root, folder)):
                path = f"{folder}/{entry.name}" if folder else entry.name
                if passed_over(path):
                    continue
                if entry.is_dir(follow_symlinks=follow):
                    folders.append(path)
                else:
                    yield path


def claimed_length(descriptor):
    return os.fstat(descriptor).st_size


def read(descriptor, start, length):
    """Exactly these bytes, into memory of our own."""
    data = bytearray()
    while len(data) < length:
        more = os.pread(descriptor, length - len(data), start + len(data))
        if not more:
            raise EndsEarly(f"it ends at byte {start + len(data)}")
        data += more
    return bytes(data)
