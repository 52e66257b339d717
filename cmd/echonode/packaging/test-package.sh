#!/usr/bin/env bash
# Try the Debian package as a hospital would: in a bare Debian 12 under systemd it is installed, checked, echoed, fed,
# backed up, upgraded, downgraded, restored and removed. Needs root, `setup.sh release`, and the network once.
#
#   test-package.sh [OUT]     OUT: folder with echonode_VERSION_amd64.deb; without it the package is built
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../../.." && pwd)
scratch=$(mktemp -d)
machine=$scratch/debian
pids=()
say() { printf 'test-package: %s\n' "$*"; }
die() {
	printf 'test-package: FAILED: %s\n' "$*" >&2
	[[ -z ${leader:-} ]] || { inside journalctl -u echonode --no-pager -n 40 >&2 || true; }
	exit 1
}
finish() {
	[[ -z ${leader:-} ]] || { inside systemctl poweroff >/dev/null 2>&1 || true; sleep 3; }
	((${#pids[@]} == 0)) || kill "${pids[@]}" 2>/dev/null || true
	wait 2>/dev/null || true
	rm -rf "$scratch"
}
trap finish EXIT
inside() { nsenter -t "$leader" -m -u -i -p -r -w env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C DEBIAN_FRONTEND=noninteractive "$@"; }
# until SECONDS CMD...: repeats a command until it succeeds
until_ok() {
	local end=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		((SECONDS < end)) || die "not in time: $*"
		sleep 0.5
	done
}
said() { grep -q "$1" <<<"$(inside journalctl -u echonode --no-pager)"; }

# ---- packages: this version and a later one ----------------------------------------------------------------------

version=${VERSION:?set VERSION; make test-package does}
later=$version+later1
if [[ -n ${1:-} ]]; then
	cp "$1/echonode_${version}_amd64.deb" "$scratch/now.deb"
else
	say "building $version"
	VERSION=$version ARCHS=amd64 IMAGE=no "$here/release.sh" "$scratch/now" >/dev/null
	cp "$scratch"/now/*.deb "$scratch/now.deb"
fi
say "building $later"
VERSION=$later ARCHS=amd64 IMAGE=no "$here/release.sh" "$scratch/later" >/dev/null
cp "$scratch"/later/*.deb "$scratch/later.deb"

# ---- a bare Debian 12 --------------------------------------------------------------------------------------------

base=$root/.build/release/bookworm.tar
if [[ ! -f $base ]]; then
	say "making a Debian 12"
	mmdebstrap --quiet --mode=root --format=tar --variant=apt --include=systemd,systemd-sysv,dbus bookworm "$base.part"
	mv "$base.part" "$base"
fi
mountpoint -q /sys/fs/cgroup || die "no control groups are mounted at /sys/fs/cgroup, without which systemd-nspawn boots nothing"
mkdir "$machine"
tar -C "$machine" -xpf "$base"
cp "$scratch/now.deb" "$scratch/later.deb" "$machine/root/"
systemd-nspawn --quiet --register=no --keep-unit -D "$machine" -b >"$scratch/boot.log" 2>&1 &
pids+=($!)
nspawn=$!
# The container's init is a child of systemd-nspawn, or of the one it forks.
find_leader() { leader=$(pgrep -P "$(pgrep -P "$nspawn" | head -n 1)" -x systemd || pgrep -P "$nspawn" -x systemd) && [[ $leader ]]; }
until_ok 60 find_leader
until_ok 60 inside systemctl is-system-running --wait -q || true
say "booted: $(inside sh -c '. /etc/os-release && echo "$PRETTY_NAME"'), $(inside systemctl --version | head -n 1)"

# ---- install -----------------------------------------------------------------------------------------------------

inside apt-get -q -o Acquire::Retries=3 update >"$scratch/apt.log" 2>&1 || die "apt-get update: $(tail -n 3 "$scratch/apt.log")"
inside apt-get -q -y --no-install-recommends install /root/now.deb >"$scratch/apt.log" 2>&1 || die "install: $(tail -n 5 "$scratch/apt.log")"
until_ok 30 inside systemctl is-active echonode
[[ $(inside systemctl is-enabled echonode) == enabled ]] || die "the service is not enabled"
[[ $(inside systemctl show -p User --value echonode) == echonode ]] || die "the service runs as another user"
until_ok 30 inside echonode echo --called ECHONODE 127.0.0.1:11112
say "installed and running as shipped: $(inside echonode version | head -n 1)"
pid=$(inside systemctl show -p MainPID --value echonode)
[[ $(inside stat -c %U "/proc/$pid") == echonode ]] || die "the process runs as $(inside stat -c %U "/proc/$pid")"
inside grep -q 'NoNewPrivs:.*1' "/proc/$pid/status" || die "NoNewPrivs is off"
inside grep -q 'CapEff:.*0000000000000000' "/proc/$pid/status" || die "the process has capabilities"
for path in /var/lib/echonode /var/lib/echonode/node.db /etc/echonode/echonode.yaml; do
	[[ $(inside stat -c %a "$path") == *0 ]] || die "$path can be read by everybody"
done

# ---- configure, check, feed --------------------------------------------------------------------------------------

"$here/hold-ports.py" 3 >"$scratch/ports" &
pids+=($!)
until_ok 10 test -s "$scratch/ports"
read -r dicom http pacs <"$scratch/ports"
mkdir "$scratch/pacs"
storescp -aet PACS -od "$scratch/pacs" +xa "$pacs" &
pids+=($!)
inside tee /etc/echonode/echonode.yaml >/dev/null <<YAML
dicom: {listen: "127.0.0.1:$dicom"}
http: {listen: "127.0.0.1:$http"}
storage: {directory: /var/lib/echonode, min_free: 16MiB}
study: {idle: 1s}
destinations:
  - {name: pacs, address: "127.0.0.1:$pacs", ae_title: PACS}
YAML
as_node() { inside setpriv --reuid echonode --regid echonode --clear-groups "$@"; }
inside systemctl stop echonode
as_node echonode check-config --live -c /etc/echonode/echonode.yaml | sed 's/^/    /' || die "check-config --live"
inside systemctl start echonode
until_ok 30 inside echonode echo --called ECHONODE "127.0.0.1:$dicom"

loops=$(cd / && go mod download -json github.com/grailbio/go-dicom@v0.0.0-20211105193521-b0e216a1c5cd | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')/examples
studies() { inside echonode studies --url "http://127.0.0.1:$http"; }
reports() { grep -l -a '1.2.840.10008.5.1.4.1.1.88.33' "$scratch"/pacs/* 2>/dev/null | wc -l; }
feed() { # feed LOOP REPORTS: sends one loop and waits until that many reports are back
	storescu -xy -aec ECHONODE 127.0.0.1 "$dicom" "$loops/$1" || die "the loop was not taken"
	local end=$((SECONDS + 120))
	until (($(reports) >= $2)); do
		((SECONDS < end)) || die "no report came back: $(studies)"
		sleep 0.5
	done
}
feed I_000008.dcm 1
say "fed: $(ls "$scratch/pacs" | wc -l) objects came back to dcmtk's storescp"
memory=$(inside systemctl show -p MemoryCurrent --value echonode)
say "the unit's limits: MemoryMax $(inside systemctl show -p MemoryMax --value echonode), now $memory; systemd-analyze security: $(systemd-analyze security --offline=true "$here/deb/echonode.service" | sed -n 's/.*Overall exposure level for [^:]*: //p')"

# ---- back up, upgrade --------------------------------------------------------------------------------------------

inside echonode backup -c /etc/echonode/echonode.yaml /root/saved | sed 's/^/    /' || die "backup"
before=$(studies | wc -l)
inside apt-get -q -y -o Dpkg::Options::=--force-confdef install /root/later.deb >"$scratch/apt.log" 2>&1 || die "upgrade: $(tail -n 5 "$scratch/apt.log")"
until_ok 30 inside echonode echo --called ECHONODE "127.0.0.1:$dicom"
said "EchoNode starts.*version=$later" || die "the new version does not run"
[[ $(studies | wc -l) == "$before" ]] || die "studies are lost in the upgrade"
feed I_000034.dcm 2
say "upgraded to $later: configuration and studies are kept, another study went through"

# ---- downgrade: possible with the same schema, refused with the reason with a newer one -------------------------

inside apt-get -q -y --allow-downgrades install /root/now.deb >"$scratch/apt.log" 2>&1 || die "downgrade: $(tail -n 5 "$scratch/apt.log")"
until_ok 30 inside echonode echo --called ECHONODE "127.0.0.1:$dicom"
say "downgraded: the schema is the same, it runs"
inside systemctl stop echonode
python3 -c "
import sqlite3, sys
d = sqlite3.connect(sys.argv[1]); d.execute('INSERT INTO goose_db_version (version_id, is_applied) VALUES (9000, 1)'); d.commit(); d.close()
" "$machine/var/lib/echonode/node.db"
inside systemctl start echonode || true
until_ok 20 inside systemctl is-failed echonode
said 'written by a newer EchoNode' || die "the reason is not in the journal"
[[ $(inside systemctl show -p NRestarts --value echonode) == 0 ]] || die "it is started again and again"
say "with data of a newer version: $(sed -n '/newer EchoNode/{p;q}' <<<"$(inside journalctl -u echonode --no-pager -o cat)")"

# ---- restore -----------------------------------------------------------------------------------------------------

inside systemctl stop echonode
inside mv /var/lib/echonode /var/lib/echonode.broken
inside install -d -o echonode -g echonode -m 0750 /var/lib/echonode
inside echonode restore -c /etc/echonode/echonode.yaml /root/saved | sed 's/^/    /' || die "restore"
inside systemctl reset-failed echonode
inside systemctl start echonode
until_ok 30 inside echonode echo --called ECHONODE "127.0.0.1:$dicom"
[[ $(studies | wc -l) == "$before" ]] || die "the backup does not hold the studies"
say "restored: the studies are those of the backup"

# ---- remove ------------------------------------------------------------------------------------------------------

inside apt-get -q -y purge echonode >"$scratch/apt.log" 2>&1 || die "purge: $(tail -n 5 "$scratch/apt.log")"
! inside test -e /usr/bin/echonode || die "the program is still there"
! inside test -e /etc/echonode/echonode.yaml || die "the configuration is still there"
inside test -e /var/lib/echonode/node.db || die "patient data were deleted"
say "purged: program and configuration are gone, data are kept"
say "PASSED"
