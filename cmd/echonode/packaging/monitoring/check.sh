#!/usr/bin/env bash
# Check dashboard and alerts: promtool reads and tests the rules, parses every expression of the dashboard, and every
# metric that either names is exposed by a running node. Needs promtool (Debian package prometheus) and bin/echonode.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../../../.." && pwd)
scratch=$(mktemp -d)
trap 'kill ${node:-} ${holder:-} 2>/dev/null || true; rm -rf "$scratch"' EXIT
promtool=$(command -v promtool) || { echo "monitoring: promtool is missing (setup.sh release)" >&2; exit 1; }

"$promtool" check rules "$here/alerts.yml"
(cd "$here" && "$promtool" test rules alerts_test.yml)

# The dashboard's expressions as rules, Grafana's variables replaced.
python3 - "$here/dashboard.json" >"$scratch/dashboard.yml" <<'PY'
import json, sys
print("groups:\n- name: dashboard\n  rules:")
for i, panel in enumerate(json.load(open(sys.argv[1]))["panels"]):
    for target in panel["targets"]:
        expr = target["expr"].replace("$__rate_interval", "5m").replace("$__range", "1d").replace("$instance", ".*")
        print(f"  - record: panel:{i}_{target['refId']}\n    expr: {json.dumps(expr)}")
PY
"$promtool" check rules "$scratch/dashboard.yml"

# A node that has received something, so that every counter has a child.
"$here/../hold-ports.py" 2 >"$scratch/ports" &
holder=$!
for _ in $(seq 100); do [[ -s $scratch/ports ]] && break; sleep 0.1; done
read -r dicom http <"$scratch/ports"
cat >"$scratch/echonode.yaml" <<YAML
dicom: {listen: "127.0.0.1:$dicom"}
http: {listen: "127.0.0.1:$http"}
storage: {directory: "$scratch/data", min_free: 1MiB}
study: {idle: 1s}
destinations: [{name: self, address: "127.0.0.1:1", ae_title: NOBODY}]
YAML
"$root/bin/echonode" serve -c "$scratch/echonode.yaml" 2>"$scratch/log" &
node=$!
for _ in $(seq 100); do
	"$root/bin/echonode" echo --called ECHONODE "127.0.0.1:$dicom" >/dev/null 2>&1 && break
	sleep 0.2
done
loop=$(cd / && go mod download -json github.com/grailbio/go-dicom@v0.0.0-20211105193521-b0e216a1c5cd | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')/examples/I_000008.dcm
"$root/bin/echonode" send -q --called ECHONODE "127.0.0.1:$dicom" "$loop"
for _ in $(seq 300); do
	curl -sf "http://127.0.0.1:$http/metrics" >"$scratch/metrics" || true
	grep -q '^echonode_deliveries_total' "$scratch/metrics" && grep -q '^echonode_queue_jobs' "$scratch/metrics" && break
	sleep 0.2
done
"$promtool" check metrics <"$scratch/metrics"
missing=0
for metric in $(grep -oh '\b\(echonode\|process\|go\)_[a-z_]*' "$here/alerts.yml" "$scratch/dashboard.yml" | sort -u); do
	grep -q "^$metric\b" "$scratch/metrics" || { echo "monitoring: the node does not expose $metric" >&2; missing=1; }
done
((missing == 0)) && echo "monitoring: rules, tests, dashboard and metrics agree"
