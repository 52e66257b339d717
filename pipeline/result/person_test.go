package result

import "testing"

func TestPatients(t *testing.T) {
	for _, c := range []struct {
		persons []Person
		want    int
	}{
		{nil, 0},
		{[]Person{{ID: "a"}}, 1},
		{[]Person{{ID: "a"}, {ID: "a", Issuer: "x"}, {ID: "a", Issuer: "x"}}, 1},
		{[]Person{{ID: "a", Issuer: "x"}, {ID: "a", Issuer: "y"}}, 2},
		{[]Person{{ID: "a"}, {ID: "b"}}, 2},
		{[]Person{{ID: "a"}, {}}, 2},
		{[]Person{{ID: "a", Issuer: "x"}, {ID: "a", Issuer: "y"}, {ID: "b"}}, 3},
		// a corrected name, a corrected birth date, one after the other
		{[]Person{{ID: "a", Family: "m", Born: "1"}, {ID: "a", Family: "n", Born: "1"}}, 1},
		{[]Person{{ID: "a", Family: "m", Born: "1"}, {ID: "a", Family: "m", Born: "2"}}, 1},
		{[]Person{{ID: "a", Family: "m", Born: "1"}, {ID: "a", Family: "n"}, {ID: "a", Born: "2"}}, 1},
		// two persons with the ID of nobody
		{[]Person{{ID: "0", Family: "m", Born: "1"}, {ID: "0", Family: "n", Born: "2"}}, 2},
		{[]Person{{Family: "m", Born: "1"}, {Family: "n", Born: "2"}}, 2},
	} {
		if n := Patients(c.persons); n != c.want {
			t.Errorf("%v: %d patients, want %d", c.persons, n, c.want)
		}
	}
}
