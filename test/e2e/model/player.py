"""Plays sequences of file system operations in a folder and tells what came of each.

One sequence per line of standard input, as JSON: {"folder": …, "hides": …, "operations": […]}; one line of results per sequence
on standard output. The folder is the root of everything the operations name (chroot), so no path leads out of it. A path is
text in which every character stands for one byte. Results hold nothing that may differ between two file systems that
do the same: no inode numbers, no times of the clock, no sizes of directories.
"""

import ctypes
import errno
import fcntl
import json
import mmap
import os
import random
import stat
import sys
import time
import zlib

libc = ctypes.CDLL(None, use_errno=True)
AT_FDCWD = -100
AT_SYMLINK_NOFOLLOW = 0x100
UTIME_NOW = 0x3FFFFFFF
UTIME_OMIT = 0x3FFFFFFE
RECENT_NS = 1_000_000_000 * 10**9  # operations set times before 2001; what is later was the clock's doing
TICK_S = 0.0005
MOST_READ = 4 << 20  # more than is ever written; of longer files, which are sparse, the last bytes too
LAST_READ = 64 << 10
CLOCK_REALTIME_COARSE = 5


class Timespec(ctypes.Structure):
    _fields_ = [("sec", ctypes.c_long), ("nsec", ctypes.c_long)]


def timespec(time):
    if time == "now":
        return Timespec(0, UTIME_NOW)
    return Timespec(0, UTIME_OMIT) if time == "omit" else Timespec(time["sec"], time["nsec"])


def checked(result):
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def name(text):
    return text.encode("latin-1")


def text(name):
    return name.decode("latin-1")


def noise(seed, length):
    return random.Random(seed).randbytes(length)


def digest(data):
    return f"{len(data)} bytes {zlib.crc32(data):08x}"


def content(fd):
    size = os.fstat(fd).st_size
    parts = [os.pread(fd, MOST_READ, 0)]
    if size > MOST_READ:
        parts.append(os.pread(fd, 2 * LAST_READ, size - LAST_READ))
    return " and ".join(digest(part) for part in parts)


def when(ns):
    return ns if ns < RECENT_NS else "recent"


KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
}


def attributes(s):
    """What two file systems agree on, of what stat(2) says. Access times are the reader's business, and told by `utime` only."""
    size = None if stat.S_ISDIR(s.st_mode) else s.st_size
    mode = stat.S_IMODE(s.st_mode)
    # Setgid on a file that its group may not execute means nothing; the kernel takes it from local files, and not from a mount's.
    if not stat.S_ISDIR(s.st_mode) and not mode & stat.S_IXGRP:
        mode &= ~stat.S_ISGID
    return [KINDS[stat.S_IFMT(s.st_mode)], oct(mode), s.st_nlink, s.st_uid, s.st_gid, size, s.st_rdev, when(s.st_mtime_ns)]


def xattrs(at, **how):
    return {text(os.fsencode(n)): digest(os.getxattr(at, n, **how)) for n in sorted(os.listxattr(at, **how)) if not n.startswith("security.")}


def next_tick():
    """Waits until the clock that file systems take their times from has gone on."""
    coarse = lambda: time.clock_gettime_ns(CLOCK_REALTIME_COARSE)
    start = coarse()
    while coarse() == start:
        time.sleep(TICK_S)


class Player:
    def __init__(self, hides):
        self.hides = hides
        self.open = []
        self.opened = set()  # inodes, since the sequence began

    # ---- open files ----

    def fd(self, o):
        return self.open[o["fd"] % len(self.open)]

    def op_open(self, o):
        self.open.append(os.open(name(o["path"]), o["flags"] | os.O_NONBLOCK | os.O_CLOEXEC, o["mode"]))
        self.opened.add(os.fstat(self.open[-1]).st_ino)

    def op_close(self, o):
        os.close(self.open.pop(o["fd"] % len(self.open)))

    def op_read(self, o):
        return digest(os.read(self.fd(o), o["length"]))

    def op_pread(self, o):
        return digest(os.pread(self.fd(o), o["length"], o["at"]))

    def op_write(self, o):
        return os.write(self.fd(o), noise(o["seed"], o["length"]))

    def op_pwrite(self, o):
        return os.pwrite(self.fd(o), noise(o["seed"], o["length"]), o["at"])

    def op_writev(self, o):
        return os.writev(self.fd(o), [noise(o["seed"] + i, o["length"]) for i in range(3)])

    def op_lseek(self, o):
        # Where directories may be sought to is each file system's own business.
        return None if stat.S_ISDIR(os.fstat(self.fd(o)).st_mode) else os.lseek(self.fd(o), o["at"], o["whence"])

    def op_ftruncate(self, o):
        os.ftruncate(self.fd(o), o["size"])

    def op_fsync(self, o):
        os.fsync(self.fd(o))

    def op_fdatasync(self, o):
        os.fdatasync(self.fd(o))

    def op_dropPages(self, o):
        """The kernel forgets what it has of the file, so that the file system is asked again."""
        os.fsync(self.fd(o))
        os.posix_fadvise(self.fd(o), 0, 0, os.POSIX_FADV_DONTNEED)

    def op_fstat(self, o):
        return attributes(os.fstat(self.fd(o)))

    def op_fchmod(self, o):
        os.fchmod(self.fd(o), o["mode"])

    def op_fchown(self, o):
        os.fchown(self.fd(o), o["uid"], o["gid"])

    def op_fgetxattr(self, o):
        return digest(os.getxattr(self.fd(o), name(o["name"])))

    def op_fsetxattr(self, o):
        os.setxattr(self.fd(o), name(o["name"]), noise(o["seed"], o["length"]), o["flags"])

    def op_freaddir(self, o):
        return sorted(os.listdir(self.fd(o)))

    def mappable(self, o):
        s = os.fstat(self.fd(o))
        if not stat.S_ISREG(s.st_mode):
            raise OSError(errno.ENODEV, "only files are mapped")
        return min(s.st_size, MOST_READ)

    def op_mapRead(self, o):
        length = self.mappable(o)
        with mmap.mmap(self.fd(o), length, prot=mmap.PROT_READ) as mapped:
            return digest(mapped[:])

    def op_mapWrite(self, o):
        """Writes through a shared mapping; never beyond the end, which is SIGBUS."""
        length = self.mappable(o)
        if not o["appending"] and any(fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_APPEND for fd in self.open):
            return "not while a file is appended to"
        with mmap.mmap(self.fd(o), length) as mapped:
            at = o["at"] % length
            data = noise(o["seed"], min(o["length"], length - at))
            mapped[at : at + len(data)] = data
            mapped.flush()

    def op_fallocate(self, o):
        checked(libc.fallocate(self.fd(o), o["mode"], ctypes.c_long(o["at"]), ctypes.c_long(o["length"])))

    def op_copyRange(self, o):
        to = self.open[o["to"] % len(self.open)]
        return os.copy_file_range(self.fd(o), to, o["length"], o["at"], o["toAt"])

    def op_holes(self, o):
        """Whether what SEEK_DATA and SEEK_HOLE say is true: where the holes are is each file system's own business."""
        fd = self.fd(o)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return None
        size = os.fstat(fd).st_size
        position = os.lseek(fd, 0, os.SEEK_CUR)
        at = 0
        while at < min(size, MOST_READ):
            try:
                data = os.lseek(fd, at, os.SEEK_DATA)
            except OSError as e:
                if e.errno != errno.ENXIO:
                    raise
                data = size
            if data < at or any(os.pread(fd, min(data, MOST_READ) - at, at)):
                return f"no hole from {at} to {data}"
            at = data if data == size else os.lseek(fd, data, os.SEEK_HOLE)
            if at <= data and data < size or at > size:
                return f"no data from {data} to {at}"
        os.lseek(fd, position, os.SEEK_SET)
        return os.lseek(fd, size, os.SEEK_DATA)

    def op_flock(self, o):
        fcntl.flock(self.fd(o), o["how"] | fcntl.LOCK_NB)

    # ---- names ----

    def op_mkdir(self, o):
        os.mkdir(name(o["path"]), o["mode"])

    def op_mknod(self, o):
        os.mknod(name(o["path"]), o["mode"], o["device"])

    def op_symlink(self, o):
        os.symlink(name(o["target"]), name(o["path"]))

    def op_link(self, o):
        os.link(name(o["from"]), name(o["path"]), follow_symlinks=o["follow"])

    def op_unlink(self, o):
        if not self.removable(o["path"]):
            return "-"
        os.unlink(name(o["path"]))

    def op_rmdir(self, o):
        os.rmdir(name(o["path"]))

    def op_rename(self, o):
        if not self.removable(o["path"]):
            return "-"
        flags = o["flags"]
        if flags == 0:
            os.rename(name(o["from"]), name(o["path"]))
        else:
            checked(libc.renameat2(AT_FDCWD, name(o["from"]), AT_FDCWD, name(o["path"]), flags))

    def op_readlink(self, o):
        return text(os.readlink(name(o["path"])))

    def op_readdir(self, o):
        entries = []
        with os.scandir(name(o["path"])) as found:
            for entry in found:
                s = entry.stat(follow_symlinks=False)
                wrong = "" if entry.inode() == s.st_ino else ": its inode number is not that of stat"
                entries.append(f"{text(entry.name)}{wrong}")
        return sorted(entries)

    # ---- attributes ----

    def op_stat(self, o):
        return attributes(os.stat(name(o["path"]), follow_symlinks=o["follow"]))

    def op_access(self, o):
        return os.access(name(o["path"]), o["mode"], effective_ids=True)

    def op_chmod(self, o):
        os.chmod(name(o["path"]), o["mode"])

    def op_chown(self, o):
        os.chown(name(o["path"]), o["uid"], o["gid"], follow_symlinks=o["follow"])

    def op_truncate(self, o):
        os.truncate(name(o["path"]), o["size"])

    def op_utime(self, o):
        path = name(o["path"])
        follow = 0 if o["follow"] else AT_SYMLINK_NOFOLLOW
        times = (Timespec * 2)(timespec(o["atime"]), timespec(o["mtime"]))
        checked(libc.utimensat(AT_FDCWD, path, times, follow))
        return None if o["atime"] == "omit" else when(os.stat(path, follow_symlinks=o["follow"]).st_atime_ns)

    def op_getxattr(self, o):
        return digest(os.getxattr(name(o["path"]), name(o["name"]), follow_symlinks=o["follow"]))

    def op_setxattr(self, o):
        os.setxattr(name(o["path"]), name(o["name"]), noise(o["seed"], o["length"]), o["flags"], follow_symlinks=o["follow"])

    def op_listxattr(self, o):
        return xattrs(name(o["path"]), follow_symlinks=o["follow"])

    def op_removexattr(self, o):
        os.removexattr(name(o["path"]), name(o["name"]), follow_symlinks=o["follow"])

    def op_umask(self, o):
        os.umask(o["mode"])

    # ---- what libfuse 2 cannot do ----

    def removable(self, path):
        """libfuse 2 hides open files that lose their name, and hears of a close after close(2) has returned; a close that comes
        while it hides the file is lost to it, and the hidden file stays. Then names of files that were opened do not go."""
        if not self.hides:
            return True
        try:
            return os.lstat(name(path)).st_ino not in self.opened
        except OSError:
            return True  # what is to be removed says why it is not there

    # ---- a sequence ----

    def close_all(self):
        while self.open:
            os.close(self.open.pop())

    def perform(self, o):
        """The result of an operation; the name of its errno; or "-" where it needs an open file and there is none."""
        if "fd" in o and not self.open:
            return "-"
        user = o["user"]
        if user != 0 and o.get("uid") == o.get("gid") == -1:
            return "-"  # to a mount, which is not told what the kernel wants, it is another user's write that takes privileges
        if user != 0:
            os.setgroups([user + 100])
            os.setegid(user)
            os.seteuid(user)
        try:
            return getattr(self, "op_" + o["do"])(o)
        except OSError as e:
            return errno.errorcode[e.errno]
        except ValueError:  # Python's word for an empty mapping
            return "EINVAL"
        finally:
            if user != 0:
                os.seteuid(0)
                os.setegid(0)
                os.setgroups([])

    def watched(self, o):
        """What an operation does to the change time of an inode: whether it is another than before."""
        path = name(o["watch"])
        ctime = lambda: os.lstat(path).st_ctime_ns
        try:
            ino = os.lstat(path).st_ino
            self.commit(ino)
            before = ctime()
        except OSError as e:
            return [self.perform(o), errno.errorcode[e.errno]]
        next_tick()
        result = self.perform(o)
        try:
            if os.lstat(path).st_ino != ino:
                return [result, "another inode"]
            after = ctime()
            return [result, "changed" if after > before else "goes back" if after < before else "as before"]
        except OSError as e:
            return [result, errno.errorcode[e.errno]]

    def prepare(self):
        """Something to begin with, so that operations meet with more than ENOENT."""
        os.umask(0)
        os.chmod(".", 0o1777)
        os.mkdir("c", 0o777)
        os.mkdir("c/c", 0o777)
        for path in ("a", "c/a", "c/b"):
            os.mknod(path, stat.S_IFREG | 0o666)
            os.truncate(path, 5000)
            if not self.hides:
                with open(path, "wb") as f:
                    f.write(noise(1, 5000))
        os.symlink("c/a", "b")
        os.umask(0o022)

    def commit(self, ino):
        """On a mount, what is written changes the change time once more when it is committed: to be over before it is watched."""
        for fd in self.open:
            if os.fstat(fd).st_ino == ino:
                os.fsync(fd)

    def play(self, operations):
        self.prepare()
        results = [self.watched(o) if "watch" in o else self.perform(o) for o in operations]
        opened = [[attributes(os.fstat(fd)), self.content_or_error(fd)] for fd in self.open]
        before = tree()
        self.close_all()
        after = tree()
        return {"results": results, "open": opened, "tree": before, "closed": after}

    def content_or_error(self, fd):
        try:
            return content(fd)
        except OSError as e:
            return errno.errorcode[e.errno]


def tree():
    """Everything below the root: attributes, contents, extended attributes, and which names are of one inode."""
    first = {}
    found = []
    for folder, dirs, files in os.walk(b"."):
        dirs.sort()
        for n in sorted([b".", *dirs, *files] if folder == b"." else [*dirs, *files]):
            path = os.path.normpath(os.path.join(folder, n))
            s = os.lstat(path)
            line = [text(path), *attributes(s)]
            if stat.S_ISREG(s.st_mode):
                with open(path, "rb") as f:
                    line.append(content(f.fileno()))
            elif stat.S_ISLNK(s.st_mode):
                line.append(text(os.readlink(path)))
            line.append(xattrs(path, follow_symlinks=False))
            if stat.S_ISREG(s.st_mode) and s.st_nlink > 1:
                line.append("is " + text(first.setdefault(s.st_ino, path)))
            found.append(line)
    return found


def main():
    root = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    for line in sys.stdin:
        request = json.loads(line)
        os.chroot(request["folder"])
        os.chdir("/")
        player = Player(request["hides"])
        try:
            said = tree() if request["operations"] is None else player.play(request["operations"])
        finally:
            player.close_all()
            os.fchdir(root)
            os.chroot(".")
        print(json.dumps(said), flush=True)


main()
