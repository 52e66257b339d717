package result

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// who is an object's patient as ID/issuer|name|birth date|sex.
func who(s string) Person {
	f := strings.Split(s+"|||", "|")
	id, issuer, _ := strings.Cut(f[0], "/")
	return PersonOf(id, issuer, f[1], f[2], f[3])
}

// Who is one patient, and who is not. Each pair is looked at both ways.
func TestTwoPersons(t *testing.T) {
	for _, c := range []struct {
		a, b string
		one  bool
	}{
		// IDs
		{"a", "a", true},
		{"a", "b", false},
		{"a", "", false},
		{"a", "a/x", true},
		{"a/x", "a/y", false},
		{"a|Doe^Jane|19400102|F", "b|Doe^Jane|19400102|F", false},
		{"|Doe^Jane|19400102|F", "|DOE^JANE^^^|19400102", true},
		{"|Doe^Jane|19400102", "|Doe^Jane|19400103", false},
		{"|Doe^Jane", "|Doe^John", false},
		// persons who share an ID
		{"0|Mueller^Anna|19400101|F", "0|Mueller^Hans|19800202|M", false},
		{"0|Mueller^Anna|19400101|F", "0|Mueller^Hans|19800202", false},
		{"0|Mueller^Anna", "0|Mueller^Hans", false},
		{"0|Mueller^Anna|19400101", "0|Mueller^Anna|19800202", false},
		{"0||19400101", "0||19800202", false},
		{"0|||F", "0|||M", false},
		{"0|Mueller^Baby|20200301|F", "0|Mueller^Baby|20200301|M", false}, // twins under their mother's ID
		{"0|Mueller^Baby 1|20200301|F", "0|Mueller^Baby 2|20200301|F", false},
		{"0|Mueller^Anna|20200301|F", "0|Mueller^Maria|20200301|F", false},
		{"0|Mueller^Anna^Maria", "0|Mueller^Anna^Sofie", false},
		{"0|Mueller^Anna|19400203", "0|Schmidt^Hans|19400203", false},
		{"0|Mueller^Anna", "0|Schmidt^Anna", false},
		{"0|Mueller^Anna|19400101", "0|Schmidt^Anna|19400101", false}, // nobody knows when either was born
		{"0|Hans Mueller", "0|Mueller^Anna", false},
		{"0|Mueller", "0|Schmidt", false},
		{"0|Mueller|19400203", "0|Schmidt|19400203", false},
		{"0|Unknown^Unknown|19400101", "0|Mueller^Anna", false},
		{"0|Mueller^A", "0|Mueller^Hans", false},
		{"0|Smith^John^Q", "0|Smith^John^Peter", false},
		{"0|李^明", "0|李^红", false},
		{"0|Li^Ming=李^明", "0|Li^Ming=李^铭", false},
		{"0|Yamada^Tarou=山田", "0|Yamada^Hanako=山田", false},
		{"0|Иванов^Иван", "0|Иванов^Пётр", false},
		{"0|शर्मा^राम", "0|शर्मा^सीता", false},
		// what is not given
		{"a|Mueller^Anna|19400203|F", "a", true},
		{"a|Mueller^Anna|19400203|F", "a|Mueller", true},
		{"a|Mueller^Anna|19400203|F", "a|^Anna", true},
		{"a|Mueller^Anna|19400203|F", "a|Mueller^Anna||O", true},
		{"a|Mueller^Anna|19400203|F", "a|Mueller^Anna|1940|F", true},
		{"a|Mueller^Anna|19400203|F", "a|Mueller^Anna|19400000|F", true},
		{"a|Mueller^Anna|19400203|F", "a|^^^^|  ", true},
		{"a|山田^太郎", "a|????^??", true},
		{"a|Müller^Anna", "a|M\uFFFDller^Anna", true},
		// how it is written
		{"a|Mueller^Anna|19400203|F", "a|MUELLER ^ anna^^^ |1940.02.03|f", true},
		{"a|Mueller^Anna", "a|Müller^Anna", true},
		{"a|Muller^Anna", "a|Müller^Anna", true},
		{"a|Müller^Anna", "a|Mu\u0308ller^A\u0301nna", true},
		{"a|Strauß^Zoë", "a|STRAUSS^ZOE", true},
		{"a|Søerensen^Åse", "a|Soerensen^Aase", true},
		{"a|Łukasz^Wałęsa", "a|Lukasz^Walesa", true},
		{"a|Mueller^Anna", "a|Mueller^Anna^Maria", true},
		{"a|Mueller^Anna", "a|Mueller^Anna Maria", true},
		{"a|Mueller^Anna M.", "a|Mueller^Anna^Maria", true},
		{"a|Mueller^AnnaMaria", "a|Mueller^Anna-Maria", true},
		{"a|Mueller^A", "a|Mueller^Anna", true},
		{"a|Mueller-Schmidt^Anna", "a|Mueller^Anna", true},
		{"a|van den Berg^Jan", "a|Vandenberg^Jan", true},
		{"a|Berg^Jan", "a|van den Berg^Jan", true},
		{"a|O'Brien^Pat", "a|OBrien^Pat", true},
		{"a|O'Brien^Pat", "a|O Brien^Pat", true},
		{"a|Smith^John^^^Jr", "a|Smith Jr.^John", true},
		{"a|Mueller^Anna^^Prof. Dr.", "a|Dr. Mueller^Anna", true},
		{"a|Mueller^Anna", "a|Mueller, Anna", true},
		{"a|Mueller^Anna", "a|Anna Mueller", true},
		{"a|Mueller^Anna", "a|Anna^Mueller", true},
		{"a|De Elia^Jo Ellen", "a|DeElia^Joellen", true},
		{"a|Yamada^Tarou=山田^太郎=やまだ^たろう", "a|Yamada^Tarou", true},
		{"a|Yamada^Tarou=山田^太郎=やまだ^たろう", "a|=山田^太郎", true},
		{"a|Yamada^Tarou=山田^太郎", "a|Yamada^Taro=山田^太郎", true},
		{"a|ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう", "a|Yamada^Tarou==ヤマダ^タロウ", true},
		{"a|王^小明", "a|王小明", true},
		{"a|Hong^Gildong=洪^吉洞=홍^길동", "a|홍길동", true},
		{"a|Иванов^Иван", "a|Ivanov^Ivan", true},
		{"a|Фёдоров^Фёдор", "a|ФЕДОРОВ^ФЕДОР", true},
		// a family name that has changed
		{"a|Mueller^Anna|19400203|F", "a|Schmidt^Anna|19400203|F", true},
		{"a|Mueller^Anna|19400203|F", "a|Schmidt^Anna|19400203|M", false},
		{"a|Sato^Yuki=佐藤^雪|19400203", "a|Tanaka^Yuki=田中^雪|19400203", true},
	} {
		for _, pair := range [][2]string{{c.a, c.b}, {c.b, c.a}} {
			if got := Patients([]Person{who(pair[0]), who(pair[1])}) == 1; got != c.one {
				t.Errorf("%q and %q: one patient %v, want %v", pair[0], pair[1], got, c.one)
			}
		}
		if Patients([]Person{who(c.a), who(c.a)}) != 1 {
			t.Errorf("%q is not one with itself", c.a)
		}
	}
}

func TestPatients(t *testing.T) {
	for _, c := range []struct {
		persons []string
		want    int
		apart   []int
	}{
		{nil, 0, nil},
		{[]string{"a", "a/x", "a/x"}, 1, []int{0, 0, 0}},
		{[]string{"a/x", "a/y", "b", "a/x"}, 3, []int{0, 1, 2, 0}},
		{[]string{"0|Mueller^Anna|19400203", "0|Mueller^Hans|19800202", "0|Mueller^Anna Maria"}, 2, []int{0, 1, 0}},
		{[]string{"0|Mueller^Anna|19400203", "0|Mueller^Anna|19800202", "0|Mueller^Anna"}, 2, []int{0, 1, 2}}, // whose is the third?
		{[]string{"0|Mueller^A", "0|Mueller^Anna", "0|Mueller^Anton", "0"}, 2, []int{0, 1, 2, 3}},
	} {
		var persons []Person
		for _, s := range c.persons {
			persons = append(persons, who(s))
		}
		for range 3 {
			if n := Patients(persons); n != c.want {
				t.Errorf("%v: %d patients, want %d", c.persons, n, c.want)
			}
			slices.Reverse(persons)
			if n := Patients(persons); n != c.want {
				t.Errorf("%v: %d patients in another order, want %d", c.persons, n, c.want)
			}
			slices.Reverse(persons)
		}
		if got := Apart(persons); !slices.Equal(got, c.apart) && len(c.apart) > 0 {
			t.Errorf("%v: apart %v, want %v", c.persons, got, c.apart)
		}
	}
}

// What was recorded before names were taken apart says nothing of a name, and
// the texts of names are nowhere.
func TestPersonsOfBefore(t *testing.T) {
	p := who("a|Mueller^Anna|19400203|F")
	was := p
	was.Family, was.Given, was.Sex = "0f5a9c3b7d1e2468", "", ""
	if Patients([]Person{p, was}) != 1 {
		t.Error("a digest of before is taken for a name")
	}
	if s := fmt.Sprint(p); strings.Contains(strings.ToLower(s), "muel") || strings.Contains(s, "1940") {
		t.Errorf("a person shows its name: %s", s)
	}
	for _, odd := range []string{"L", "L=", "L>", "L12", "=", ">", "L zz", "Ö", "L0000 L00001"} {
		Patients([]Person{{ID: "a", Family: odd, Given: odd}, p})
	}
}

// A study of very many persons does not keep the node busy.
func TestManyPersons(t *testing.T) {
	var many []Person
	for i := range 20000 {
		many = append(many, who(fmt.Sprintf("0|Name%d^Given%d Maria", i, i)))
	}
	done := make(chan int, 1)
	go func() { done <- Patients(many) }()
	select {
	case n := <-done:
		if n != maxPatients {
			t.Errorf("%d patients", n)
		}
	case <-time.After(time.Minute):
		t.Fatal("still counting")
	}
	if got := Apart(many[:300]); slices.Max(got) != 299 {
		t.Errorf("%d of 300", slices.Max(got))
	}
}

// Whatever a name is, it is compared without a panic, and is one with itself.
func FuzzPersons(f *testing.F) {
	f.Add("Yamada^Tarou=山田^太郎=やまだ^たろう", "Müller-Lüdenscheidt^Anna M.^^Dr.^Jr")
	f.Add("^^=^=\x00", "L= >~'`?")
	f.Fuzz(func(t *testing.T, a, b string) {
		p, q := PersonOf("1", "", a, "19400203", "F"), PersonOf("1", "", b, "19400203", "F")
		if n := Patients([]Person{p, p}); n != 1 {
			t.Errorf("%q: %d patients", a, n)
		}
		if Patients([]Person{p, q}) != Patients([]Person{q, p}) {
			t.Errorf("%q and %q: not the same both ways", a, b)
		}
	})
}
