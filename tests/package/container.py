"""A Debian that boots: debootstrap fills a directory, systemd-nspawn runs it with systemd as its
first process. It has a network of its own with nothing but a loopback in it; what apt will need is
fetched before the boot, from wherever apt on this machine gets it."""

import hashlib
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile

from processes import Late, wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
CACHE = ROOT / "build/package-test"
BOOT_LIMIT = 180.0
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/root",
               "DEBIAN_FRONTEND": "noninteractive"}  # fmt: skip


class NotHere(Exception):
    """This machine cannot have such a container; the text says why."""


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def why_not():
    """The reason why there can be no container, or None."""
    if os.geteuid() != 0:
        return "it needs root"
    missing = [name for name in ("systemd-nspawn", "debootstrap", "apt-get", "nsenter",
                                 "dpkg-buildpackage") if not shutil.which(name)]  # fmt: skip
    if missing:
        return "there is no " + ", no ".join(missing)
    return None


# ---- what the container is made of ----

def suite():
    for line in pathlib.Path("/etc/os-release").read_text().splitlines():
        if line.startswith("VERSION_CODENAME="):
            return line.partition("=")[2].strip('"')
    raise NotHere("/etc/os-release names no suite of Debian")


def sources():
    """(URI, suite, component) of each of apt's own sources that is Debian's, for this suite."""
    rows = output("apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT) $(ORIGIN)",
                  "Created-By: Packages").splitlines()  # fmt: skip
    found = [tuple(row.split()[:3]) for row in rows
             if row.endswith(" Debian") and row.split()[1].startswith(suite())]
    if not found:
        raise NotHere("apt has no sources of Debian's; has `apt-get update` been run?")
    return sorted(set(found), key=lambda row: (len(row[1]), row))


def write_apt_settings(tree):
    """The sources, and the way to them: a proxy, if apt here has one."""
    lines = [f"deb {uri} {release} {component}\n" for uri, release, component in sources()]
    (tree / "etc/apt/sources.list").write_text("".join(lines))
    way = [line for line in output("apt-config", "dump").splitlines()
           if "proxy" in line.lower() and not line.endswith(' "";')]
    (tree / "etc/apt/apt.conf.d/00way").write_text("".join(line + "\n" for line in way))


def in_tree(tree, *command):
    subprocess.run(["chroot", tree, *command], check=True, env=ENVIRONMENT,
                   stdout=subprocess.DEVNULL)


def base_tree(packages):
    """A bare Debian with those packages in apt's cache. Made once; `make clean` removes it."""
    digest = hashlib.sha256(" ".join(sorted(packages)).encode()).hexdigest()[:8]
    base = CACHE / f"base-{suite()}-{digest}"
    if base.exists():
        return base
    CACHE.mkdir(parents=True, exist_ok=True)
    making = pathlib.Path(tempfile.mkdtemp(prefix="base-", dir=CACHE))
    try:
        uri, release, _ = sources()[0]
        subprocess.run(["debootstrap", "--variant=minbase",
                        "--include=systemd,systemd-sysv,dbus,procps", release, making, uri],
                       check=True, stdout=subprocess.DEVNULL)  # fmt: skip
        write_apt_settings(making)
        shutil.copy("/etc/resolv.conf", making / "etc/resolv.conf")
        in_tree(making, "apt-get", "-q", "update")
        in_tree(making, "apt-get", "-q", "-y", "--download-only", "--no-install-recommends", "install",
                *packages)
        (making / "etc/resolv.conf").write_text("")
        making.chmod(0o755)
        making.rename(base)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return base


# ---- the container ----

class Container:
    def __init__(self, base):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="first-day-", dir=CACHE))
        self.tree = self.directory / "root"
        subprocess.run(["cp", "-a", "--reflink=auto", base, self.tree], check=True)
        self.console = self.directory / "console.log"
        self.nspawn = None
        self.leader = None

    def boot(self):
        # Where systemd does not run this machine, nobody keeps a register of containers.
        alone = [] if os.path.isdir("/run/systemd/system") else ["--register=no", "--keep-unit"]
        with open(self.console, "ab") as console:
            self.nspawn = subprocess.Popen(
                ["systemd-nspawn", "--quiet", *alone, f"--machine=first-day-{os.getpid()}",
                 "--private-network", "--resolv-conf=off", "--console=pipe", "--boot",
                 "--directory", self.tree],
                stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True)  # fmt: skip
        try:
            self.leader = wait_until(self.find_leader, BOOT_LIMIT, "systemd in the container")
            wait_until(lambda: self.run("systemctl", "is-system-running", check=False).stdout.strip()
                       in ("running", "degraded"), BOOT_LIMIT, "the end of the boot")  # fmt: skip
        except Late as late:
            raise NotHere(f"the container does not boot ({late}):\n{self.console_end()}") from None

    def console_end(self):
        return "\n".join(self.console.read_text(errors="replace").splitlines()[-25:])

    def find_leader(self):
        """systemd-nspawn's child that has become systemd."""
        if self.nspawn.poll() is not None:
            raise NotHere(f"systemd-nspawn ended:\n{self.console_end()}")
        pids = pathlib.Path(f"/proc/{self.nspawn.pid}/task/{self.nspawn.pid}/children").read_text()
        for pid in pids.split():
            try:
                if pathlib.Path(f"/proc/{pid}/comm").read_text() == "systemd\n":
                    return int(pid)
            except FileNotFoundError:
                pass
        return None

    def enter(self, command):
        return ["nsenter", f"--target={self.leader}", "--mount", "--uts", "--ipc", "--net", "--pid",
                "--cgroup", "--root", "--wd", *command]  # fmt: skip

    def run(self, *command, check=True, limit=600):
        done = subprocess.run(self.enter(command), capture_output=True, text=True, check=False,
                              env=ENVIRONMENT, timeout=limit, stdin=subprocess.DEVNULL)  # fmt: skip
        if check:
            assert done.returncode == 0, (command, done.returncode, done.stdout[-4000:],
                                          done.stderr[-4000:])  # fmt: skip
        return done

    def shell(self, script, **options):
        return self.run("sh", "-ec", script, **options).stdout

    def in_its_network(self, command):
        """A program of this machine with the container's loopback."""
        return ["nsenter", f"--target={self.leader}", "--net", *command]

    def path(self, path):
        return self.tree / str(path).lstrip("/")

    def write(self, path, text, mode=0o644):
        self.path(path).write_text(text)
        self.path(path).chmod(mode)

    def halt(self):
        self.run("systemctl", "poweroff", check=False)
        self.nspawn.wait(BOOT_LIMIT)

    def reboot(self):
        self.halt()
        self.boot()

    def remove(self):
        if self.nspawn and self.nspawn.poll() is None:
            self.nspawn.send_signal(signal.SIGTERM)
            try:
                self.nspawn.wait(30)
            except subprocess.TimeoutExpired:
                self.nspawn.kill()
                self.nspawn.wait()
        if not os.environ.get("RCPT_MILTER_KEEP"):
            shutil.rmtree(self.directory, ignore_errors=True)
