package activities

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"time"
)

const (
	// maxConnections is how many connections one attempt may be handed to: the
	// first one, and three more if those before gave the request back unprocessed.
	maxConnections = 4

	// repeatPause is the longest wait before the first repeat; that before the
	// second one is twice as long, and so on. HTTP/2 sends what it has on a new
	// connection before it knows how many streams the target allows. If all that
	// was refused came back at the same moment, most of it would be refused again.
	repeatPause = 250 * time.Millisecond
)

// repeatable is the body of one attempt. net/http asks for it again if a
// connection gave the request back unprocessed: nothing was written on a kept-alive
// connection, or HTTP/2 says GOAWAY or REFUSED_STREAM. The target has seen nothing
// of it, so it is still the same attempt. HTTP/2 also asks after PROTOCOL_ERROR,
// where the target may have seen the request.
type repeatable struct {
	ctx         context.Context // GetBody has no argument for it
	message     []byte
	connections atomic.Int32 // that the request was handed to
	paused      int32        // the value of connections at the last pause
}

func (r *repeatable) gotConnection(httptrace.GotConnInfo) { r.connections.Add(1) }

// errGivenBack ends an attempt that no connection processed.
var errGivenBack = fmt.Errorf("the target's connections gave the request back unprocessed %d times (HTTP/2 GOAWAY or REFUSED_STREAM, or a kept-alive connection that was closed)", maxConnections)

// again is http.Request.GetBody. One repeat may call it twice, so connections are
// counted and not calls.
func (r *repeatable) again() (io.ReadCloser, error) {
	tried := r.connections.Load()
	if tried >= maxConnections {
		return nil, errGivenBack
	}
	if tried > r.paused {
		r.paused = tried
		pause := rand.N(time.Duration(tried) * repeatPause)
		if err := await(r.ctx, max(pause, 1), nil); err != nil {
			return nil, err
		}
	}
	return io.NopCloser(bytes.NewReader(r.message)), nil
}

// headerKey is the key of a header in http.Header, the canonical one with two
// exceptions. If net/http finds one of those under its canonical key, it takes the
// POST for one that may be sent twice, and sends it again by itself when a
// kept-alive connection breaks while the target is at work on it. Header names are
// the same in upper and lower case, so the target sees no difference.
func headerKey(name string) string {
	key := http.CanonicalHeaderKey(name)
	if key == "Idempotency-Key" || key == "X-Idempotency-Key" {
		return strings.ToLower(key)
	}
	return key
}
