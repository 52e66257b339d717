#!/usr/bin/env bash
# The running node: time from complete to report, cost of a late loop and of a repetition, many loops; this build beside an older one in one run.
#
#   node.sh [--repeat N] [--measure latency,late,again,loops]
#
# OLD names the commit to compare with (default 7e0081e; empty for none).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
work=$(mktemp -d)
trap 'git -C "$root" worktree remove --force "$work/old" 2>/dev/null || true; rm -rf "$work"' EXIT
"$here/builds.sh" "$work"
(cd "$root" && go build -o "$work/bin/analysis" ./conformance/bench/analysis && go build -o "$work/bin/node" ./conformance/bench/node)
options=(-new "$work/bin/echonode" -inference "$work/bin/analysis")
[[ -x $work/old-bin/echonode ]] && options+=(-old "$work/old-bin/echonode")
"$work/bin/node" "${options[@]}" "$@" "$work/loops"
