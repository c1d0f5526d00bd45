#!/usr/bin/env bash
# A real Kafka broker for tests: one process in KRaft mode, on this machine only, its data in a scratch folder.
#
#   scripts/kafka.sh fetch               get the jars into the cache, once
#   scripts/kafka.sh start               start a broker, wait until it answers, print its bootstrap address
#   scripts/kafka.sh start secure        the same with listeners for TLS and SASL; prints the folder that says how to use them
#   scripts/kafka.sh status              print the bootstrap address of the running broker; fail if none runs
#   scripts/kafka.sh pid                 print the process id of the running broker; fail if none runs
#   scripts/kafka.sh stop                end the broker that start started, and remove the scratch folder it made
#   scripts/kafka.sh tool CLASS ARG...   run a Kafka tool, as: tool org.apache.kafka.tools.TopicCommand --list ...
#
# Environment:
#   PALISADE_KAFKA_HOME       where the jars are kept              (default: the user's cache folder)
#   PALISADE_KAFKA_STATE      file that says what is running       (default: `running` beside the jars)
#   PALISADE_KAFKA_PORT       port of the broker                   (default: a free one)
#   PALISADE_KAFKA_DIR        data folder, kept by stop, so that a broker can be started again on its data
#                             (default: a new folder, removed by stop)
#   PALISADE_KAFKA_WAIT_SECS  how long start waits for an answer   (default: 90)
#
# The folder of `start secure` holds the addresses of the listeners (files plaintext, sasl_plaintext, sasl_ssl, ssl), the
# authority that signed the broker (ca.pem), what a client shows to `ssl` (client.p12), and one new password for that file
# and for the user `palisade` of PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512. OAUTHBEARER takes unsigned tokens, as Kafka does for
# tests, and ends connections with them. The topic `secure` with one partition is there.
#
# It installs nothing but the jars. The broker ends only by `stop`: a caller that may fail sets a trap.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
home=${PALISADE_KAFKA_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/palisade/kafka}
state=${PALISADE_KAFKA_STATE:-$home/running}
wait_secs=${PALISADE_KAFKA_WAIT_SECS:-90}
version=$(sed -n 's:.*<kafka.version>\(.*\)</kafka.version>.*:\1:p' "$here/kafka/pom.xml")
libs=$home/$version

say() { printf 'kafka.sh: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }

need_java() {
  command -v java >/dev/null || die "java is missing: install a Java runtime, version 17 or later (Debian: openjdk-17-jre-headless)"
  local major
  major=$(java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1)
  [ "${major:-0}" -ge 17 ] || die "java is version ${major:-unknown}: Kafka $version needs 17 or later"
}

fetch() {
  [ -d "$libs" ] && return
  need_java
  command -v mvn >/dev/null || die "mvn is missing: install Maven (Debian: maven); it fetches Kafka's jars"
  mkdir -p "$home"
  local partial log
  partial=$(mktemp -d "$home/partial.XXXXXX")
  log=$partial.log
  say "fetching Kafka $version"
  if ! mvn -B -q -f "$here/kafka/pom.xml" dependency:copy-dependencies -DincludeScope=runtime \
    -DoutputDirectory="$partial" </dev/null >"$log" 2>&1; then
    tail -n 15 "$log" >&2
    rm -rf "$partial" "$log"
    die "the jars of Kafka $version could not be fetched"
  fi
  rm -f "$log"
  # Moved whole, so that a fetch cut short never looks complete; a second fetch at the same time may have won.
  mv -T "$partial" "$libs" 2>/dev/null || rm -rf "$partial"
  [ -d "$libs" ] || die "$libs could not be written"
}

# A tool is a short-lived Java program: little heap, and no time spent on optimising it.
tool() {
  java -Xmx192m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dlog4j2.configurationFile="$here/kafka/log4j2.properties" \
    -Dpalisade.kafka.level=error -cp "$libs/*" "$@"
}

port_answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Below the range from which the system gives out ports to clients.
free_port() {
  local port try
  for try in 1 2 3 4 5 6 7 8 9 10; do
    port=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
    port_answers "$port" || { echo "$port"; return; }
  done
  die "no free port found"
}

# When a process began: tells our broker from a stranger that was given its number later.
began() {
  if [ -r "/proc/$1/stat" ]; then
    sed 's/.*) //' "/proc/$1/stat" | cut -d' ' -f20
  else
    ps -o lstart= -p "$1" 2>/dev/null | tr -s ' ' '_'
  fi
}

# A process that ended and was not yet collected by its parent is not alive, although it can be signalled.
alive() {
  kill -0 "$1" 2>/dev/null || return 1
  [ ! -r "/proc/$1/stat" ] || [ "$(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -c 1)" != Z ]
}

load_state() {
  pid='' bootstrap='' dir='' made_dir='' since=''
  [ -r "$state" ] || return 1
  # shellcheck disable=SC1090
  . "$state"
}

running() { load_state && alive "$pid" && [ "$(began "$pid")" = "$since" ]; }

# A certificate for a name, signed by the authority of the folder, in a store of its own.
certify() { # folder name password
  local store=(-storetype PKCS12 -storepass "$3")
  keytool -genkeypair -alias "$2" -keyalg EC -groupname secp256r1 -dname "CN=$2" -validity 30 \
    -keystore "$1/$2.p12" "${store[@]}"
  keytool -certreq -alias "$2" -keystore "$1/$2.p12" "${store[@]}" |
    keytool -gencert -alias ca -ext san=ip:127.0.0.1,dns:localhost -validity 30 -rfc \
      -keystore "$1/ca.p12" "${store[@]}" >"$1/$2.pem"
  keytool -importcert -noprompt -alias ca -file "$1/ca.pem" -keystore "$1/$2.p12" "${store[@]}"
  keytool -importcert -noprompt -alias "$2" -file "$1/$2.pem" -keystore "$1/$2.p12" "${store[@]}"
}

# Certificates and a password, made anew for each data folder.
make_secrets() ( # folder
  umask 077
  mkdir -p "$1"
  [ ! -e "$1/password" ] || return 0
  local password store
  password=$(head -c 24 /dev/urandom | base64 | tr -d '+/=')
  store=(-storetype PKCS12 -storepass "$password")
  {
    keytool -genkeypair -alias ca -ext bc:c -keyalg EC -groupname secp256r1 -dname CN=ca -validity 30 \
      -keystore "$1/ca.p12" "${store[@]}"
    keytool -exportcert -rfc -alias ca -keystore "$1/ca.p12" "${store[@]}" >"$1/ca.pem"
    keytool -importcert -noprompt -alias ca -file "$1/ca.pem" -keystore "$1/trust.p12" "${store[@]}"
    certify "$1" broker "$password"
    certify "$1" client "$password"
  } >"$1/keytool.log" 2>&1 || { tail -n 15 "$1/keytool.log" >&2; die "keytool made no certificates"; }
  echo "$password" >"$1/password"
)

write_secure_properties() { # dir; the rest of the configuration is there
  local folder=$1/secure password listener port begin=org.apache.kafka.common.security
  local listeners='' map='' prefix
  password=$(cat "$folder/password")
  for listener in SASL_PLAINTEXT SASL_SSL SSL; do
    port=$(free_port)
    while [[ "$listeners" == *":$port"* ]]; do port=$(free_port); done
    listeners+=",$listener://127.0.0.1:$port"
    map+=",$listener:$listener"
    echo "127.0.0.1:$port" >"$folder/${listener,,}"
  done
  sed -i "s|^listeners=.*|&$listeners|; s|^advertised.listeners=.*|&$listeners|;
    s|^listener.security.protocol.map=.*|&$map|" "$1/server.properties"
  {
    echo "sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER"
    for prefix in listener.name.sasl_plaintext listener.name.sasl_ssl; do
      echo "$prefix.plain.sasl.jaas.config=$begin.plain.PlainLoginModule required user_palisade=\"$password\";"
      echo "$prefix.scram-sha-256.sasl.jaas.config=$begin.scram.ScramLoginModule required;"
      echo "$prefix.scram-sha-512.sasl.jaas.config=$begin.scram.ScramLoginModule required;"
      echo "$prefix.oauthbearer.sasl.jaas.config=$begin.oauthbearer.OAuthBearerLoginModule required" \
        "unsecuredLoginStringClaim_sub=\"broker\";"
      echo "$prefix.oauthbearer.connections.max.reauth.ms=3600000"
    done
    echo "ssl.keystore.type=PKCS12"
    echo "ssl.keystore.location=$folder/broker.p12"
    echo "ssl.keystore.password=$password"
    echo "ssl.key.password=$password"
    echo "ssl.truststore.type=PKCS12"
    echo "ssl.truststore.location=$folder/trust.p12"
    echo "ssl.truststore.password=$password"
    echo "listener.name.ssl.ssl.client.auth=required"
  } >>"$1/server.properties"
}

write_properties() { # dir port controller_port
  cat >"$1/server.properties" <<EOF
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$3
listeners=PLAINTEXT://127.0.0.1:$2,CONTROLLER://127.0.0.1:$3
advertised.listeners=PLAINTEXT://127.0.0.1:$2
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs=$1/log
num.partitions=3
auto.create.topics.enable=false
# One broker: what Kafka keeps three copies of by default has to live with one.
offsets.topic.num.partitions=3
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=3
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
# A test that kills a consumer need not wait long until its successor is let in.
group.min.session.timeout.ms=500
log.retention.ms=-1
log.cleaner.dedupe.buffer.size=2097152
num.network.threads=2
num.io.threads=2
num.replica.fetchers=1
background.threads=2
EOF
}

launch() { # dir port controller_port; sets pid
  if [ ! -e "$1/log/meta.properties" ]; then
    local cluster scram=() mechanism
    cluster=$(head -c 16 /dev/urandom | base64 | tr '+/' 'AB' | cut -c 1-22)
    if [ -n "$secure" ]; then
      for mechanism in SCRAM-SHA-256 SCRAM-SHA-512; do
        scram+=(--add-scram "$mechanism=[name=palisade,password=$(cat "$1/secure/password")]")
      done
    fi
    tool kafka.tools.StorageTool format --cluster-id "$cluster" --config "$1/server.properties" \
      ${scram[@]+"${scram[@]}"} >"$1/format.log" 2>&1 </dev/null || { tail -n 15 "$1/format.log" >&2; return 1; }
  fi
  (
    trap '' HUP
    exec java -Xms128m -Xmx384m -XX:+UseSerialGC -XX:MaxDirectMemorySize=128m \
      -Dlog4j2.configurationFile="$here/kafka/log4j2.properties" -cp "$libs/*" kafka.Kafka "$1/server.properties"
  ) </dev/null >>"$1/broker.log" 2>&1 &
  pid=$!
}

# The port alone is not enough: it opens before the broker knows its controller.
await() { # port
  local deadline=$((SECONDS + wait_secs))
  while [ "$SECONDS" -lt "$deadline" ]; do
    alive "$pid" || return 1
    if port_answers "$1" && timeout 20 "$0" tool org.apache.kafka.tools.TopicCommand \
      --bootstrap-server "127.0.0.1:$1" --list </dev/null >/dev/null 2>&1; then
      return 0
    fi
    sleep 0.3
  done
  return 1
}

end_pid() {
  local tick
  kill -TERM "$1" 2>/dev/null || return 0
  for tick in $(seq 1 100); do
    alive "$1" || return 0
    sleep 0.2
  done
  say "the broker did not end within 20 s and is killed"
  kill -KILL "$1" 2>/dev/null || true
  for tick in $(seq 1 25); do
    alive "$1" || return 0
    sleep 0.2
  done
}

start() {
  if running; then
    die "a broker is running at $bootstrap (process $pid); stop it first, or name another PALISADE_KAFKA_STATE"
  fi
  need_java
  fetch
  local port controller_port made='' data=${PALISADE_KAFKA_DIR:-}
  if [ -z "$data" ]; then
    data=$(mktemp -d "${TMPDIR:-/tmp}/palisade-kafka.XXXXXX")
    made=$data
  fi
  mkdir -p "$data" "$(dirname "$state")"
  # Another program may take a port between our look and the broker's; ports that we chose are chosen again.
  local try
  for try in 1 2 3; do
    port=${PALISADE_KAFKA_PORT:-$(free_port)}
    controller_port=$(free_port)
    [ "$port" != "$controller_port" ] || continue
    port_answers "$port" && die "port $port is taken"
    write_properties "$data" "$port" "$controller_port"
    if [ -n "$secure" ]; then
      make_secrets "$data/secure"
      write_secure_properties "$data"
      echo "127.0.0.1:$port" >"$data/secure/plaintext"
    fi
    launch "$data" "$port" "$controller_port" || break
    printf 'pid=%s\nsince=%q\nbootstrap=127.0.0.1:%s\ndir=%q\nmade_dir=%q\n' \
      "$pid" "$(began "$pid")" "$port" "$data" "$made" >"$state"
    if await "$port"; then
      say "Kafka $version is up (process $pid, data in $data)"
      if [ -z "$secure" ]; then
        echo "127.0.0.1:$port"
      else
        tool org.apache.kafka.tools.TopicCommand --bootstrap-server "127.0.0.1:$port" --create --if-not-exists \
          --topic secure --partitions 1 >&2
        echo "$data/secure"
      fi
      return
    fi
    end_pid "$pid"
    grep -q 'Address already in use' "$data/broker.log" || break
  done
  tail -n 20 "$data/broker.log" >&2 || true
  rm -f "$state"
  [ -z "$made" ] || rm -rf "$made"
  die "the broker did not answer within $wait_secs s"
}

stop() {
  load_state || { say "nothing to stop"; return; }
  if running; then end_pid "$pid"; else say "the broker was no longer running"; fi
  [ -z "$made_dir" ] || rm -rf "$made_dir"
  rm -f "$state"
}

status() {
  if running && port_answers "${bootstrap##*:}"; then
    echo "$bootstrap"
  else
    die "no broker is running"
  fi
}

case "${1:-}" in
  fetch) fetch; say "the jars are in $libs" ;;
  start)
    case "${2:-}" in
      '') secure='' ;;
      secure) secure=yes ;;
      *) die "start $2: there is start, and start secure" ;;
    esac
    start
    ;;
  stop) stop ;;
  status) status ;;
  pid) running || die "no broker is running"; echo "$pid" ;;
  tool) shift; need_java; fetch; tool "$@" ;;
  *) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"; exit 2 ;;
esac
