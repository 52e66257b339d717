package node

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// settings are those of this process as the database has them.
func (n *Node) settings() string {
	b, err := json.Marshal(n.opt.Settings) // keys in order
	if err != nil {
		panic(err) // texts always have a JSON form
	}
	return string(b)
}

// compareSettings finds out whether the processes that live go by the same settings:
// what one removes, reports or sends is removed, reported or sent for all.
func (n *Node) compareSettings(ctx context.Context) {
	if !n.store.Shared() {
		return
	}
	all, err := n.store.Processes(ctx)
	if err != nil {
		return // the database is away: others say so
	}
	var differ []string
	for _, p := range all {
		var theirs map[string]string
		if json.Unmarshal([]byte(p.Settings), &theirs) != nil {
			continue // a program of before does not tell
		}
		for _, key := range slices.Sorted(maps.Keys(n.opt.Settings)) {
			if other, both := theirs[key]; both && other != n.opt.Settings[key] {
				differ = append(differ, fmt.Sprintf("%s is %s here and %s in process %s", key, n.opt.Settings[key], other, p.ID))
			}
		}
	}
	if len(differ) == 0 {
		n.differ.Store(nil)
		return
	}
	now := "processes of one database have different settings: " + strings.Join(differ, "; ")
	if before := n.differ.Swap(&now); before == nil || *before != now {
		n.log.Warn(now)
	}
}
