package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

const (
	// progressAfter is how long people wait without wondering; progressEvery, how often
	// they are told then.
	progressAfter = time.Second
	progressEvery = 250 * time.Millisecond
	// clearLine takes back what was said on the line.
	clearLine = "\r\x1b[K"
)

// A progress tells somebody at a terminal how far a command is, if it takes long. To
// anybody else it says nothing.
type progress struct {
	says string // with how much is done, and of how much; empty: of parts that were looked at
	stop context.CancelFunc
	work sync.WaitGroup

	mu        sync.Mutex // guards what follows
	done, all int
}

func newProgress(ctx context.Context, to io.Writer) *progress {
	return progressOf(ctx, to, "")
}

// progressOf is newProgress of what is told in other words.
func progressOf(ctx context.Context, to io.Writer, says string) *progress {
	p := &progress{says: says, stop: func() {}}
	if isTerminal(to) {
		p.start(ctx, to)
	}
	return p
}

// start tells to how far it is, until end or the end of ctx.
func (p *progress) start(ctx context.Context, to io.Writer) {
	ctx, p.stop = context.WithCancel(ctx)
	p.work.Go(func() {
		said := false
		wait := time.NewTimer(progressAfter)
		defer wait.Stop()
		for {
			select {
			case <-ctx.Done():
				if said {
					_, _ = io.WriteString(to, clearLine) // a terminal that is gone reads nothing
				}
				return
			case <-wait.C:
			}
			p.mu.Lock()
			done, all := p.done, p.all
			p.mu.Unlock()
			_, _ = fmt.Fprintf(to, clearLine+cmp.Or(p.says, "looked at %d of %d parts"), done, all) // as above
			said = true
			wait.Reset(progressEvery)
		}
	})
}

// set says how far it is.
func (p *progress) set(done, all int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done, p.all = done, all
}

// end takes back what was said, and returns when nothing more will be.
func (p *progress) end() {
	p.stop()
	p.work.Wait()
}

// isTerminal reports whether somebody may be looking: what devices there are that are no
// terminals, such as /dev/null, show nothing.
func isTerminal(to io.Writer) bool {
	f, ok := to.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
