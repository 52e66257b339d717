#!/usr/bin/env bash
# Whole analysis beside inference alone, this build beside an older one, in one run.
#
#   analysis.sh [--repeat N] [DIR]      default: the demonstration's loops
#
# OLD names the commit to compare with (default 7e0081e; empty for none).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
options=()
while [[ ${1:-} == --* ]]; do
	options+=("$1" "$2")
	shift 2
done
work=$(mktemp -d)
trap 'git -C "$root" worktree remove --force "$work/old" 2>/dev/null || true; rm -rf "$work"' EXIT
"$here/builds.sh" "$work"
(cd "$root" && go build -o "$work/bin/analysis" ./conformance/bench/analysis)
[[ -x $work/old-bin/echonode ]] && options+=(-old "$work/old-bin/echonode")
dir=${1:-$work/loops}
"$work/bin/analysis" -new "$work/bin/echonode" "${options[@]}" "$dir"
