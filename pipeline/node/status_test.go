package node

import (
	"errors"
	"fmt"
	"testing"

	"github.com/echonode/echonode/pipeline/spool"
	"github.com/echonode/echonode/scp"
)

func TestStatusOf(t *testing.T) {
	cause := errors.New("cause")
	for _, tt := range []struct {
		err  error
		want uint16
	}{
		{spool.ErrUID, 0x0117},
		{fmt.Errorf("%w: 5 bytes free", spool.ErrWatermark), 0xA700},
		{fmt.Errorf("%w: %w", spool.ErrDiskFull, cause), 0xA700},
		{errors.Join(fmt.Errorf("%w: %w", spool.ErrDescriptors, cause), cause), 0xA700},
		{fmt.Errorf("%w: %w", spool.ErrObjectStore, cause), 0xA700},
		{&scp.StatusError{Status: 0xA900, Err: spool.ErrDiskFull}, 0xA900}, // what has a status keeps it
		{cause, 0},
		{nil, 0},
	} {
		got := StatusOf(tt.err)
		var s *scp.StatusError
		if errors.As(got, &s) != (tt.want != 0) || s != nil && s.Status != tt.want || !errors.Is(got, tt.err) {
			t.Errorf("%v: %v, want %04XH", tt.err, got, tt.want)
		}
	}
}
