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
		{"|Weber^Karl", "|Weber^Karl M", true},
		{"|Weber^Karl|19400203|M", "|WEBER^Karl^Martin", true},
		{"|Weber^Karl|19400203", "|Weber^Karl", true},
		{"|Weber^K", "|Weber^Karl", true},
		{"|Weber^Karl|19400203|M", "|Weber^Karl|19400203|F", false},
		{"|Weber^Karl", "|Weber", false},
		{"|Weber^Karl|19400203", "||19400203", false},
		{"|Weber^Karl", "", false},
		{"|W^K", "|Weber^Karl", false},
		{"|Unknown^Unknown", "|Unknown^Unknown|19400203", false},
		{"|Mueller^Anna|19400203|F", "|Schmidt^Anna|19400203|F", false},
		{"|Weber^Baby 1|20200301", "|Weber^Baby 2|20200301", false},
		{"|Li^Ming=李^明", "|Li^Ming", true},
		{"|Li^Ming=李^明", "|Li^Ming=李^铭", false},
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
		// those of one name who are counted, and newborns who have none
		{"0|Mueller^Zwilling I|20200301|F", "0|Mueller^Zwilling II|20200301|F", false},
		{"0|Mueller^Baby II|20200301|F", "0|Mueller^Baby III|20200301|F", false},
		{"0|Mueller^Baby I|20200301|F", "0|Mueller^Baby 1|20200301|F", true},
		{"0|Mueller^Baby II|20200301|F", "0|Mueller^Baby2|20200301|F", true},
		{"0|Mueller^Baby A|20200301|F", "0|Mueller^Baby B|20200301|F", false},
		{"0|Mueller^BabyA|20200301|F", "0|Mueller^BabyB|20200301|F", false},
		{"0|Mueller^Baby1|20200301|F", "0|Mueller^Baby2|20200301|F", false},
		{"0|Mueller^Baby^I|20200301|F", "0|Mueller^Baby^II|20200301|F", false},
		{"0|Mueller^Baby^^^I|20200301|F", "0|Mueller^Baby^^^II|20200301|F", false},
		{"0|Mueller^Baby^^^A|20200301|F", "0|Mueller^Baby^^^B|20200301|F", false},
		{"0|Mueller^Baby 1|20200301|F", "0|Mueller^Baby^^^2|20200301|F", false},
		{"0|Mueller^Foo I|20200301|F", "0|Mueller^Foo II|20200301|F", false},
		{"0|Mueller^II|20200301|F", "0|Mueller^III|20200301|F", false},
		{"0|Mueller^I|20200301|F", "0|Mueller^II|20200301|F", false},
		{"0|Mueller 1^Baby|20200301|F", "0|Mueller 2^Baby|20200301|F", false},
		{"0|Mueller I^Baby|20200301|F", "0|Mueller II^Baby|20200301|F", false},
		{"0|Mueller1^Vauva|20200301|F", "0|Mueller2^Vauva|20200301|F", false},
		{"0|Mueller A^Baby|20200301|F", "0|Mueller B^Baby|20200301|F", false},
		{"0|MuellerA^Baby|20200301|F", "0|MuellerB^Baby|20200301|F", false},
		{"0|Mueller^Baby|20200301|F", "0|Schmidt^Baby|20200301|F", false},
		{"0|Mueller^Baby Boy|20200301", "0|Schmidt^Baby Boy|20200301", false},
		{"0|Mueller^Babyboy|20200301", "0|Schmidt^Babyboy|20200301", false},
		{"0|Mueller^Säugling|20200301", "0|Schmidt^Säugling|20200301", false},
		{"0|Mueller^Twin 1|20200301", "0|Schmidt^Twin 1|20200301", false},
		{"0|Mueller^2|20200301", "0|Schmidt^2|20200301", false},
		{"0|Mueller^A|20200301", "0|Schmidt^A|20200301", false},
		{"0|Mueller^A|19400203", "0|Schmidt^Anna|19400203", false},
		{"0|Mueller^Unknown|20200301", "0|Schmidt^Unknown|20200301", false},
		{"0|Иванова^Мальчик|20200301", "0|Петрова^Мальчик|20200301", false},
		{"0|山田^ベビー|20200301", "0|佐藤^ﾍﾞﾋﾞｰ|20200301", false},
		{"0|王^之子|20200301", "0|李^之子|20200301", false},
		{"0|Mueller^Baby Anna|20200301", "0|Schmidt^Anna|20200301", true},
		{"0|Smith^John^^^Jr", "0|Smith^John^^^Sr", false},
		{"0|Smith Jr.^John", "0|Smith^John^^^Senior", false},
		{"0|Smith^John Jr", "0|Smith Sr^John", false},
		{"0|Smith^John^^^II", "0|Smith III^John", false},
		{"0|Smith^John II", "0|Smith^John^^^III", false},
		{"0|Smith^John^^^III PhD", "0|Smith^John^^^PhD, II", false},
		{"0|Smith^John^^^Jr", "0|Smith^John Junior", true},
		{"0|Smith^John II", "0|Smith^John^^^II", true},
		{"0|Smith II^John", "0|Smith-Jones^John", true},
		{"0|Smith^John", "0|Smith^John^^^III", true},
		{"0|Sr. Garcia^Juan", "0|Garcia^Juan^^^Jr", true},
		{"0|Vi^An", "0|An^Vi", true},
		{"0|Mueller^Anna V.", "0|Mueller^Anna Viktoria", true},
		{"0|Silva^Junior", "0|Silva^Paulo", false},
		{"0|1a2bc^X", "0|1ab2b^X", false},
		{"0|Anon12", "0|ANON 12", true},
		{"0|Anon12", "0|Anon13", false},
		// initials and another order
		{"0|Smith^J", "0|Jones^S", false},
		{"0|Smith^Baby J", "0|Jones^Baby S", false},
		{"0|Smith^J 1", "0|Jones^S 1", false},
		{"0|Mueller^J.", "0|J^Mueller", true},
		{"0|Mueller^Johanna", "0|J^Mueller", true},
		{"0|M^Anna", "0|Mueller^A", true},
		{"0|M", "0|Mueller^A", true},
		{"0|^A", "0|Mueller^Anna", true},
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
		{"a|O'Brien^Pat", "a|O´Brien^Pat", true},
		{"a|O´Brien^Pat", "a|O`Brien^Pat", true},
		{"a|O’Brien^Pat", "a|O´Brien^Pat", true},
		{"a|OBrien^Pat", "a|O‘Brien^Pat", true},
		{"a|OʼBrien^Pat", "a|O＇Brien^Pat", true},
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

// Of what a program of before has recorded ID and issuer count, and the texts of
// names are nowhere.
func TestPersonsOfBefore(t *testing.T) {
	p := who("a|Mueller^Anna|19400203|F")
	was := p
	was.Family, was.Given, was.Sex = "0f5a9c3b7d1e2468", "", ""
	was.Born = "1e2d3c4b5a697887"
	if Patients([]Person{p, was}) != 1 {
		t.Error("a digest of before is taken for what it is now")
	}
	if other := who("b|Mueller^Anna"); Patients([]Person{other, was}) != 2 {
		t.Error("another ID")
	}
	if id := p.IDOnly(); Patients([]Person{id, p, who("a|Schmidt^Hans|19800101|M")}) != 2 || Patients([]Person{id, p}) != 1 {
		t.Error("of whom the ID is known")
	}
	if got := who("a").IDOnly(); got != who("a") {
		t.Errorf("%+v", got)
	}
	if s := fmt.Sprint(p); strings.Contains(strings.ToLower(s), "muel") || strings.Contains(s, "1940") {
		t.Errorf("a person shows its name: %s", s)
	}
	for _, odd := range []string{"L", "L=", "L>", "L12", "=", ">", "L zz", "Ö", "L0000 L00001", "L-", "L0000-", "N"} {
		Patients([]Person{{ID: "a", Family: Form + " " + odd, Given: odd}, p})
	}
}

// A subject of before is another patient only where its key says so.
func TestSubjectsOfBefore(t *testing.T) {
	now := func(key, person string) *Subject { p := who(person); return &Subject{Key: key, Person: &p} }
	before := func(key string) *Subject {
		return &Subject{Key: key, Person: &Person{ID: personDigest("Doe^Jane\x0019400101"), Family: personDigest("Doe"), Born: personDigest("19400101")}}
	}
	for _, c := range []struct {
		a, b  *Subject
		other bool
	}{
		{nil, now("k", "a"), false},
		{now("k", "a|Doe^Jane"), now("k", "a|Doe^John"), true},
		{now("k-1", "a|Doe^Jane"), now("k-2", "a|Doe^J"), false},
		{before("k"), now("k", "|Doe^Jane|19400101"), false},
		{before("k"), now("k-12", "a|Doe^Jane|19400101"), false},
		{before("k"), now("l", "|Doe^Jane|19400101"), true},
		{before("k"), before("k"), false},
		{&Subject{Key: "k"}, now("k", "a"), false},
		{&Subject{Key: "k"}, now("l", "a"), true},
	} {
		if c.a.Other(c.b) != c.other || c.b.Other(c.a) != c.other {
			t.Errorf("%+v and %+v: other %v", c.a, c.b, !c.other)
		}
	}
}

// A study of very many persons does not keep the node busy, whether they
// contradict each other or not.
func TestManyPersons(t *testing.T) {
	const n = 10000
	letters := strings.Repeat("abcdefghijklmnopqrstuvwxyz", 6)
	done := make(chan bool)
	go func() {
		defer close(done)
		for what, c := range map[string]struct {
			name               func(i int) string
			least, most, apart int
		}{
			"others": {name: func(i int) string { return fmt.Sprintf("0|Name%d^Given%d Maria", i, i) }, least: 100, most: n, apart: n},
			"IDs":    {name: func(i int) string { return fmt.Sprintf("%d|Mueller^Anna", i) }, least: n, most: n, apart: n},
			"one":    {name: func(i int) string { return "0|Mueller^Anna" }, least: 1, most: 1, apart: 1},
			// One name, its spaces elsewhere in each: what is not looked at is not told apart.
			"spaces": {name: func(i int) string {
				a, b := i/100, 100+i%100/2
				return "0|" + letters[:a] + " " + letters[a:b] + " " + letters[b:] + "^x"
			}, least: 2, most: 2, apart: 1},
		} {
			var many []Person
			for i := range n {
				many = append(many, who(c.name(i)))
			}
			if got := Patients(many); got < c.least || got > c.most {
				t.Errorf("%s: %d patients", what, got)
			}
			if got := slices.Max(Apart(many)) + 1; got < c.apart {
				t.Errorf("%s: %d apart", what, got)
			}
		}
	}()
	select {
	case <-done:
	case <-time.After(2 * time.Minute):
		t.Fatal("still counting")
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
