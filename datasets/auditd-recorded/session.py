#!/usr/bin/env python3
"""Logs in to the throw-away host by ssh and types what the files in sessions/ say, as several people at once.

Run by record.sh, within the namespaces, as the first process of its own process namespace. Writes when it typed what,
for label.py. A session file has lines of columns between tabs: first `# name value` for settings, then
`technique  command  answers`. A command that begins with @shell is sent through the reverse shell that has called back;
answers, separated by |, are given to prompts for a password.

    session.py SESSIONS WINDOWS
"""
import os
import pty
import random
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time

HOST = "10.20.0.5"
KEY = "/run/rig/key"
PROMPT = re.compile(rb"worker-rec-1:[^\r\n]*[#$] $|(?:^|\n)[#$] $")
ESCAPE = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07")
PASSWORD = re.compile(rb"[Pp]assword( for \w+)?: ?$")
# The kernel stamps records with a clock that ticks every 4 to 10 ms; so much is kept between two windows.
GUARD_SECS = 0.03
WAIT_SECS = 70
# Cron works on whole minutes: the entry is noticed in one and run in the next.
CRON_SECS = 130

# Who works side by side: each list is one after the other. The attack that leaves traces in the accounts is last.
BENIGN = [["benign-daily-round"], ["benign-debugging"], ["benign-release"]]
ATTACKS = [
    "password-hashes", "hidden-root-user", "reverse-shell", "suid-shell", "secret-hunt", "namespace-escape",
    "download-and-run", "process-injection", "password-guessing", "library-preload", "trace-wiping", "persistence",
]


class Plan:
    """A session file."""

    def __init__(self, folder, name):
        self.name = name
        self.settings = {"login": "-"}
        self.steps = []
        with open(os.path.join(folder, name + ".tsv"), encoding="utf-8") as file:
            for line in file.read().splitlines():
                columns = line.split("\t")
                if columns[0].startswith("# "):
                    self.settings[columns[0][2:]] = columns[1]
                else:
                    answers = columns[2].split("|") if len(columns) > 2 else []
                    self.steps.append((columns[0], columns[1], answers))


class Windows:
    """What was typed from when to when."""

    def __init__(self, path):
        self.file = open(path, "w", encoding="utf-8")
        self.lock = threading.Lock()

    def write(self, plan, session, start, technique):
        time.sleep(GUARD_SECS)
        columns = (plan.name, plan.settings["role"], session, plan.settings["from"], technique, start, time.time())
        with self.lock:
            print(*columns, plan.settings.get("claims", "-"), sep="\t", file=self.file, flush=True)
        time.sleep(GUARD_SECS)


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, argv):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir("/")
            os.execvp(argv[0], argv)
        self.seen = b""

    def type(self, text):
        self.seen = b""
        os.write(self.fd, text.encode() + b"\n")

    def wait(self, *patterns):
        """Reads until what was seen ends in one of the patterns: gives its index, or None at the end of all."""
        deadline = time.monotonic() + WAIT_SECS
        while time.monotonic() < deadline:
            ready, _, _ = select.select([self.fd], [], [], 0.1)
            if ready:
                try:
                    part = os.read(self.fd, 65536)
                except OSError:
                    part = b""
                if not part:
                    return None
                self.seen = (self.seen + part)[-100_000:]
                continue
            tail = ESCAPE.sub(b"", self.seen[-500:])
            for n, pattern in enumerate(patterns):
                if pattern.search(tail):
                    return n
        raise TimeoutError(f"no prompt after {self.seen[-300:]!r}")

    def close(self):
        os.close(self.fd)
        os.waitpid(self.pid, 0)


def ssh(plan, *options):
    argv = ["ssh", "-tt", "-F", "/dev/null", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
            "-o", "LogLevel=ERROR", *options, "-b", plan.settings["from"], f"{plan.settings['user']}@{HOST}"]
    return Terminal(argv)


def log_in(plan, windows):
    """Logs in, after wrong guesses if there are to be any. Gives the terminal and the audit session's number."""
    login = plan.settings["login"]
    by_password = ["-o", "PubkeyAuthentication=no"]
    guesses = plan.settings.get("guesses", "").split()
    while guesses:
        start = time.time()
        terminal = ssh(plan, *by_password, "-o", f"NumberOfPasswordPrompts={min(len(guesses), 3)}")
        for guess in guesses[:3]:
            terminal.wait(PASSWORD)
            terminal.type(guess)
        terminal.wait()
        terminal.close()
        windows.write(plan, "-", start, login)
        guesses = guesses[3:]
    start = time.time()
    if "password" in plan.settings:
        terminal = ssh(plan, *by_password)
        terminal.wait(PASSWORD)
        terminal.type(plan.settings["password"])
    else:
        terminal = ssh(plan, "-i", KEY)
    terminal.wait(PROMPT)
    # Words of the shell itself: no program is run for it.
    terminal.type("read -r n </proc/self/sessionid; echo ses=$n.")
    terminal.wait(PROMPT)
    session = re.search(rb"ses=(\d+)\.", terminal.seen).group(1).decode()
    windows.write(plan, session, start, login)
    return terminal, session


def call_back(listener):
    """Waits for a reverse shell. What it says is read and dropped."""
    caller, _ = listener.accept()

    def drop():
        try:
            while caller.recv(65536):
                pass
        except OSError:
            pass

    threading.Thread(target=drop, daemon=True).start()
    return caller


def run(plan, windows):
    pace = random.Random(plan.name)
    listener = None
    if "listen" in plan.settings:
        address, port = plan.settings["listen"].split(":")
        listener = socket.create_server((address, int(port)))
        listener.settimeout(WAIT_SECS)
    caller = None
    terminal, session = log_in(plan, windows)
    for technique, command, answers in plan.steps:
        start = time.time()
        if command.startswith("@shell "):
            caller = caller or call_back(listener)
            caller.sendall(command.removeprefix("@shell ").encode() + b"\n")
            time.sleep(1.0)
            if command == "@shell exit":
                caller.close()
                caller = None
        else:
            terminal.type(command)
            for answer in answers:
                if terminal.wait(PASSWORD, PROMPT) != 0:
                    break
                terminal.type(answer)
            # A wrong password may be followed by further questions; they get no answer.
            while terminal.wait(PROMPT, PASSWORD) == 1:
                os.write(terminal.fd, b"\x03")
            if listener and command.endswith("&"):
                caller = call_back(listener)
                time.sleep(0.5)
        windows.write(plan, session, start, technique)
        time.sleep(pace.uniform(0.1, 0.8))
    start = time.time()
    terminal.type("exit")
    if terminal.wait(PROMPT) is not None:
        terminal.type("exit")
        terminal.wait()
    terminal.close()
    windows.write(plan, session, start, plan.settings["login"])
    if plan.settings.get("claims"):
        time.sleep(CRON_SECS)


def main():
    folder, out = sys.argv[1:]
    # A shell starts what runs in the background without them, and everybody here would inherit that.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    windows = Windows(out)
    services = [
        subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for argv in (
            ["/usr/sbin/sshd", "-D"],
            ["/usr/sbin/cron", "-f"],
            ["/usr/bin/python3", "-m", "http.server", "-d", "/srv/www", "-b", HOST, "8080"],
            ["/usr/bin/python3", "-m", "http.server", "-d", "/srv/www", "-b", "203.0.113.66", "8000"],
        )
    ]
    time.sleep(2)

    def work(names):
        for name in names:
            try:
                run(Plan(folder, name), windows)
            except BaseException as error:
                print(f"session.py: {name}: {error!r}", file=sys.stderr, flush=True)
                # Half a recording is none; all processes end with this one.
                os._exit(1)

    people = [threading.Thread(target=work, args=(names,)) for names in [*BENIGN, ATTACKS]]
    for person in people:
        person.start()
    for person in people:
        person.join()
    for service in services:
        service.terminate()
        service.wait()
    # auditd writes what the kernel still holds.
    time.sleep(2)


main()
