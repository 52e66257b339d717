package origin

import "testing"

func TestOf(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.7":                        "192.0.2.7",
		"192.0.2.7:104":                    "192.0.2.7",
		"192.0.2.8":                        "192.0.2.8",
		"::ffff:192.0.2.7":                 "192.0.2.7",
		"2001:db8:0:1::1":                  "2001:db8:0:1::/64",
		"2001:db8:0:1:ffff:ffff:ffff:ffff": "2001:db8:0:1::/64",
		"[2001:db8:0:1::2]:4711":           "2001:db8:0:1::/64",
		"2001:db8:0:2::1":                  "2001:db8:0:2::/64",
		"fe80::1%eth0":                     "fe80::/64",
		"::1":                              "::/64",
		"":                                 "",
		"a pipe":                           "a pipe",
	} {
		if got := Of(address); got != want {
			t.Errorf("%q: %q, want %q", address, got, want)
		}
	}
}
