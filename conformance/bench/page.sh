#!/usr/bin/env bash
# All figures of one machine, by one command: whole analysis beside inference, time from complete to report, a late loop, many
# loops through serve, and a well-behaved study in the middle of the load; this build beside an older one, in turn.
#
#   page.sh [--repeat N] [--seconds N]      seconds of load; 0 for none
#
# OLD names the commit to compare with (default 7e0081e; empty for none). As root everything runs at real-time priority (chrt),
# so that what else the machine does counts little; REALTIME= switches that off. Prints Markdown.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
repeat=3 seconds=60
while [[ ${1:-} == --* ]]; do
	case $1 in
	--repeat) repeat=$2 ;;
	--seconds) seconds=$2 ;;
	*) echo "page.sh: unknown $1" >&2; exit 2 ;;
	esac
	shift 2
done
work=$(mktemp -d)
trap 'git -C "$root" worktree remove --force "$work/old" 2>/dev/null || true; rm -rf "$work"' EXIT
"$here/builds.sh" "$work"
(cd "$root" && go build -o "$work/bin/" ./conformance/bench/analysis ./conformance/bench/node ./conformance/load)
options=(-new "$work/bin/echonode" -repeat "$repeat")
[[ -x $work/old-bin/echonode ]] && options+=(-old "$work/old-bin/echonode")
run=()
if [[ ${REALTIME-yes} ]] && chrt -r 1 true 2>/dev/null; then run=(chrt -r 1); fi
echo "$(date -u +%F), $(nproc) x $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), load $(cut -d' ' -f1 /proc/loadavg), $(git -C "$root" describe --always --dirty) beside ${OLD-7e0081e}${run:+, at real-time priority}"
echo
"${run[@]}" "$work/bin/analysis" "${options[@]}" "$work/loops"
echo
"${run[@]}" "$work/bin/node" "${options[@]}" -inference "$work/bin/analysis" "$work/loops"
if [[ $seconds != 0 ]]; then
	echo "Load of the worst objects, $seconds s:"
	echo
	(cd "$root" && "${run[@]}" "$work/bin/load" -seconds "$seconds") | sed 's/^/    /' || true # it fails where a limit is missed, and says which
fi
