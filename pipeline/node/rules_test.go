package node

import (
	"testing"

	"github.com/echonode/echonode/pipeline/deliver"
	"github.com/echonode/echonode/pipeline/result"
)

// What a destination gets is what its first rule that holds says: here the
// study has nothing measured.
func TestRulesOfDestinations(t *testing.T) {
	dir, pacs, research, night := t.TempDir(), &archive{}, &archive{}, &archive{}
	with := func(name string, a *archive, rules ...deliver.Rule) Destination {
		d := destination(name, listen(t, "PACS", a))
		d.Rules = rules
		return d
	}
	n := start(t, dir, &fakeProcessor{t: t}, Options{Destinations: []Destination{
		with("pacs", pacs, deliver.Rule{When: deliver.Condition{Result: "nothing"}}),
		with("research", research, deliver.Rule{When: deliver.Condition{From: []string{"NOBODY"}}}, deliver.Rule{When: deliver.Condition{Result: "nothing"}, Send: []string{result.KindReport}}),
		with("night", night, deliver.Rule{When: deliver.Condition{Result: "measured"}}),
	}})
	n.mustSend(t, writeObject(t, dir, "1.2.3", "1.2.3.10", nil))
	eventually(t, "reports delivered", func() bool { return n.status(t, "1.2.3").Finished() && research.objects() == 1 && night.objects() == 1 })
	for _, d := range n.status(t, "1.2.3").Deliveries {
		if d.Destination == "pacs" {
			t.Errorf("something is to go where the rule says nothing: %+v", d)
		}
	}
	if pacs.objects() != 0 {
		t.Errorf("%d objects went where the rule says nothing", pacs.objects())
	}
}
