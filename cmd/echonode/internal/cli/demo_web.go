package cli

import (
	"context"
	"crypto/rand"
	"path/filepath"

	"github.com/echonode/echonode/pipeline/review"
)

// demoUser is the account of the demo's review page.
const demoUser = "demo"

// makeAccount makes an account that may do everything, with a new password.
func (d *demo) makeAccount() error {
	d.password = rand.Text()[:12]
	hash, err := review.HashPassword(d.password)
	if err != nil {
		return err
	}
	u := review.User{Name: demoUser, Person: "Reader^Demo", Organisation: "EchoNode demonstration", Roles: review.Roles, Password: hash}
	return review.EditUsers(filepath.Join(d.out, "node", "users.yaml"), func([]review.User) ([]review.User, error) { return []review.User{u}, nil })
}

// stay says where the review page is and keeps the node running until the
// person at the terminal ends it or a process ends by itself.
func (d *demo) stay(ctx context.Context, processes []*process) error {
	d.say("\nreview page: http://%s/   user %s   password %s", d.pageAddr, demoUser, d.password)
	d.say("it stays until Ctrl-C")
	ended := make(chan *process, len(processes))
	for _, pr := range processes {
		go func() {
			<-pr.done
			ended <- pr
		}()
	}
	select {
	case <-ctx.Done():
		return nil
	case pr := <-ended:
		if ctx.Err() != nil {
			return nil // Ctrl-C reaches the whole group
		}
		return pr.exited()
	}
}
