#!/usr/bin/env python3
"""Says which lines of a recorded auditd log belong to which session, from the windows that session.py wrote.

A record belongs to the scenario of its audit session (`ses`), whose windows say which technique was at work at its time.
All records with one stamp and serial are one event. What sshd writes before there is a session is told by its process, else by the
address it came from. A session that nobody typed is cron's: a scenario claims those that run what it planted.

    label.py AUDIT.LOG WINDOWS >truth.tsv
"""
import re
import sys

UNSET = "4294967295"
HEAD = re.compile(r"type=(\S+) msg=audit\((\d+\.\d+):(\d+)\): ?(.*)")
# Windows keep 30 ms apart; the kernel's stamp may lag by a tick.
TICK_SECS = 0.015


def field(text, name):
    found = re.search(rf"(?:^|[ '\x1d]){name}=([^ '\x1d]+)", text)
    return found.group(1).strip('"') if found else None


class Window:
    def __init__(self, line):
        self.scenario, self.role, self.session, self.address, self.technique, start, end, claims = line.split("\t")
        self.start, self.end = float(start) - TICK_SECS, float(end) - TICK_SECS
        self.claims = claims.strip()


def main():
    log, windows = sys.argv[1:]
    with open(windows, encoding="utf-8") as file:
        windows = [Window(line) for line in file]
    of_session = {window.session: window for window in windows if window.session != "-"}

    events, lines = {}, []
    with open(log, encoding="utf-8", errors="surrogateescape", newline="\n") as file:
        for line in file:
            kind, at, serial, rest = HEAD.search(line).groups()
            # auditd numbers its own records, so that a serial alone is not unique.
            serial = at, serial
            event = events.setdefault(serial, {"at": float(at), "kinds": [], "text": ""})
            event["kinds"].append(kind)
            event["text"] += " " + rest.rstrip("\n")
            lines.append(serial)

    # Which session a process came to have.
    of_process, of_address = {}, {}
    for event in events.values():
        event["session"] = field(event["text"], "ses")
        event["pid"] = field(event["text"], "pid")
        if event["session"] not in (None, UNSET) and event["kinds"][0] in ("LOGIN", "USER_START", "USER_LOGIN"):
            of_process.setdefault(event["pid"], event["session"])
    # Sessions of cron that run what a scenario planted.
    claimed = {}
    for window in windows:
        if window.claims != "-":
            technique, mark = window.claims.split(" ", 1)
            marks = mark, mark.encode().hex().upper()
            for event in events.values():
                if "EXECVE" in event["kinds"] and any(m in event["text"] for m in marks):
                    if event["session"] not in of_session:
                        claimed[event["session"]] = (window.scenario, window.role, technique)
    # One address is at work for one scenario only.
    for window in windows:
        of_address.setdefault(window.address, []).append(window)

    def label(event):
        session = event["session"]
        if session == UNSET:
            session = of_process.get(event["pid"]) or of_process.get(field(event["text"], "spid"))
        if session in claimed:
            return claimed[session]
        at = event["at"]
        if session in of_session:
            window = of_session[session]
            typed = [w for w in windows if w.session == session]
        else:
            typed = of_address.get(field(event["text"], "addr"), [])
            typed = [w for w in typed if w.start - 1 <= at <= w.end + 1]
            if not typed:
                return None
            window = typed[0]
        if window.role != "attack":
            return window.scenario, window.role, "-"
        # What runs on after its command was typed is still of that command.
        begun = [w for w in typed if w.start <= at] or typed[:1]
        return window.scenario, window.role, begun[-1].technique

    def cron(event):
        """The rest: cron's own sessions are ordinary, what the recorder itself did has no label."""
        if field(event["text"], "exe") == "/usr/sbin/cron":
            return "benign-cron", "benign", "-"
        return ("benign-cron", "benign", "-") if event["session"] in cron_sessions else None

    cron_sessions = {
        event["session"]
        for event in events.values()
        if event["session"] not in (None, UNSET) and field(event["text"], "exe") == "/usr/sbin/cron"
    }
    print("line", "scenario", "role", "technique", sep="\t")
    for number, serial in enumerate(lines, 1):
        found = label(events[serial]) or cron(events[serial])
        if found:
            print(number, *found, sep="\t")


main()
