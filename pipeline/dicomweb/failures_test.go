package dicomweb

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

// Secrets cannot be tried out: after some wrong ones none is looked at for a while that
// was not right before, a right one neither. That concerns the name and the address that
// they came with.
func TestSecretsAreNotTriedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Server{Handler: newKeeper(), Accounts: accounts(t)}
		ask := func(address, name, secret string) (code, wait int) {
			r := httptest.NewRequest(http.MethodPost, "/studies", nil)
			r.RemoteAddr = address
			if name == "" {
				r.Header.Set("Authorization", "Bearer "+secret)
			} else {
				r.SetBasicAuth(name, secret)
			}
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			wait, _ = strconv.Atoi(w.Header().Get("Retry-After"))
			return w.Code, wait
		}
		const right = http.StatusUnsupportedMediaType // the secret is, the request is of no type
		for range 3 * wrongAtOnce {
			if code, _ := ask("10.0.0.1:1234", "", "a long secret"); code != right {
				t.Fatalf("a right secret: %d", code)
			}
		}
		for i := range wrongAtOnce {
			if code, _ := ask(fmt.Sprintf("10.0.0.1:%d", 1000+i), "", "a wrong secret"+strconv.Itoa(i)); code != http.StatusUnauthorized {
				t.Fatalf("wrong secret %d: %d", i, code)
			}
		}
		if code, _ := ask("10.0.0.1:99", "", "a wrong secret3"); code != http.StatusUnauthorized {
			t.Errorf("one that is known: %d", code)
		}
		if code, wait := ask("10.0.0.1:99", "", "a wrong secret"); code != http.StatusTooManyRequests || wait != 3 {
			t.Errorf("after %d wrong ones: %d, wait %d", wrongAtOnce, code, wait)
		}
		if code, _ := ask("10.0.0.1:98", "", "a long secret"); code != right {
			t.Errorf("who was right before from there: %d", code)
		}
		for i := range wrongAtOnce {
			ask("10.0.0.3:1234", "", "a wrong secret"+strconv.Itoa(i))
		}
		if code, wait := ask("10.0.0.3:99", "", "a long secret"); code != http.StatusTooManyRequests || wait != 3 {
			t.Errorf("who was not heard of from there: %d, wait %d", code, wait)
		}
		if code, _ := ask("10.0.0.2:99", "", "a long secret"); code != right {
			t.Errorf("from another address: %d", code)
		}
		if code, _ := ask("10.0.0.1:99", "CART", "wrong as well"); code != http.StatusUnauthorized {
			t.Errorf("for a name: %d", code)
		}
		time.Sleep(wrongEvery) // of the bubble's clock
		if code, _ := ask("10.0.0.1:99", "", "a long secret"); code != right {
			t.Errorf("after the wait: %d", code)
		}
		if code, _ := ask("10.0.0.1:99", "", "another wrong secret"); code != http.StatusUnauthorized {
			t.Errorf("one more wrong one after the wait: %d", code)
		}
		if code, _ := ask("10.0.0.1:99", "", "yet another one"); code != http.StatusTooManyRequests {
			t.Errorf("and once more: %d", code)
		}
		// A subscriber of IPv6 has more addresses than anybody can count.
		for i := range wrongAtOnce {
			ask(fmt.Sprintf("[2001:db8::%x]:1", i+1), "", fmt.Sprint("a wrong secret ", i))
		}
		if code, _ := ask("[2001:db8::ffff]:1", "", "a long secret"); code != http.StatusTooManyRequests {
			t.Errorf("another address of the same network: %d", code)
		}
		for i := range mostSubjects + 5 {
			ask(fmt.Sprintf("10.%d.%d.%d:1", 1+i>>16, i>>8&255, i&255), "", "a wrong secret")
		}
		if n := len(s.failures.seen); n != mostSubjects {
			t.Errorf("%d subjects are remembered", n)
		}
	})
}
