# shellcheck shell=bash
# Runs as root in the emulated box while its power is cut. Everything the box promises to keep is written again and
# again by the box's own code, and a line "kept …" follows when that code has said that it is done.

given=/run/power/given.toml

# promises.py makes the same text.
settings_text() { # settings_text N: up to 30 KB
  yes "# These are settings number $1." | head -n $(($1 * 37 % 900 + 1))
  printf '[[camera]]\nname = "Camera of version %d"\ninputs = [1]\n' "$1"
}

# Settings on the card that change all the time; every third has a mistake, and the words for it go on the card.
keep_settings() { # keep_settings WAY: the adopt-settings to try, the box's own or one with a fault planted in it
  local n=0 said
  while n=$((n + 1)); do
    echo "begin card $n"
    sleep 0.1 # that line must be heard before anything is written
    if [ $((n % 3)) = 0 ]; then echo "mistake_$n = 1" > $given; else settings_text $n > $given; fi
    said=$(bash "$1" 2>&1)
    case $said in
      "Adopted the settings from the card") echo "kept settings $n" ;;
      *"mistake_$n"*) echo "kept mistakes $n" ;;
      *) echo "trouble with settings $n: ${said//$'\n'/ | }" ;;
    esac
  done
}

# Log lines, and journald's word that it has written them.
keep_journal() {
  local n=0
  while n=$((n + 1)); do
    for line in 1 2 3 4 5 6 7 8 9 10; do
      echo "power line $n.$line of a log that somebody will want to read in the morning"
    done | systemd-cat -t power
    sleep 0.2
    [ $((n % 3)) = 0 ] || continue
    journalctl --sync && echo "kept journal $n"
  done
}

# vMix moves from address to address, and the program remembers each.
keep_facts() {
  local n=1 sender
  while n=$((n + 1)); do
    ip address add 10.99.0.$n/32 dev lo
    returnfeed simulate --srt srt://10.99.0.$n:8890 > /dev/null 2>&1 &
    sender=$!
    until vmix_host | grep -qF "\"10.99.0.$n\""; do sleep 0.2; done
    echo "kept fact 10.99.0.$n"
    kill $sender
    wait $sender
  done
}

vmix_host() {
  local line
  exec 3<> /dev/tcp/127.0.0.1/8889 || return
  printf 'GET /api/v1/status HTTP/1.1\r\nHost: box\r\nConnection: close\r\n\r\n' >&3
  grep -aoE '"host":"[^"]*"' <&3
  exec 3>&-
}

# Persons' links, made and revoked by whoever has the set-up code; each is revoked when the next one is there.
keep_links() {
  local n=0 id before
  while n=$((n + 1)); do
    before=$id
    id=$(administer POST links "{\"name\":\"Link $n\"}" | sed -nE 's/.*"link":\{"id":"([^"]*)".*/\1/p')
    if [ -z "$id" ]; then
      sleep 0.5
      continue
    fi
    echo "kept link $n"
    [ -n "$before" ] || continue
    echo "begin revoking $((n - 1))"
    sleep 0.1 # as above
    administer DELETE "links/$before" | grep -qE '^HTTP/1.1 204' && echo "kept revoked $((n - 1))"
  done
}

administer() { # administer METHOD ADDRESS [JSON]: what the box answers
  exec 4<> /dev/tcp/127.0.0.1/8889 || return
  printf '%s /api/v1/%s HTTP/1.1\r\nHost: box\r\nConnection: close\r\nContent-Type: application/json\r\n' "$1" "$2" >&4
  sed -nE 's/^setup_code = "(.*)"/Authorization: Bearer \1\r/p' /etc/returnfeed/box.toml >&4
  printf 'Content-Length: %d\r\n\r\n%s' ${#3} "$3" >&4
  cat <&4
  exec 4>&-
}

load() { # load WAY: all at once
  keep_journal 2> /dev/null &
  keep_facts 2> /dev/null &
  keep_links 2> /dev/null &
  keep_settings "$1"
}

# The box reads its settings from the card's own file; here that file is another, which can be changed.
mkdir -p /run/power
: > $given
mount --bind $given /card/returnfeed.toml
