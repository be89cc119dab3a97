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
	// maxConnections is how many connections one attempt may use: the first one, and three
	// more if the target did not process the request on the earlier ones.
	maxConnections = 4

	// repeatPause is the longest pause before the first repeat. That before the second one is
	// twice as long, and so on. The pauses are random: on a new connection, HTTP/2 sends
	// requests before it knows how many streams the target allows. If all streams that the
	// target refused were repeated at the same moment, the target would refuse most of them
	// again.
	repeatPause = 250 * time.Millisecond
)

// repeatableBody is the body of the request of one attempt. net/http asks for it again if it
// sends the request on another connection, because the target did not process it: either
// nothing was written on a kept-alive connection, or the target sent GOAWAY or REFUSED_STREAM
// (HTTP/2). The target has not seen the request, so the repeat is part of the same attempt.
// HTTP/2 also repeats after PROTOCOL_ERROR, although the target may have seen the request.
type repeatableBody struct {
	ctx         context.Context // of the attempt, because GetBody has no argument for it
	content     []byte
	connections atomic.Int32 // how many connections the request was given to
	pausedAt    int32        // the value of connections at the last pause
}

// countConnection is httptrace.ClientTrace.GotConn.
func (b *repeatableBody) countConnection(httptrace.GotConnInfo) { b.connections.Add(1) }

// errNotProcessed is the error of an attempt that the target processed on no connection.
var errNotProcessed = fmt.Errorf("the target did not process the request on any of %d connections (each one ended with HTTP/2 GOAWAY or REFUSED_STREAM, or was a kept-alive connection that had been closed)", maxConnections)

// getBody is http.Request.GetBody. It counts connections and not its own calls, because net/http
// may call it twice for one repeat.
func (b *repeatableBody) getBody() (io.ReadCloser, error) {
	used := b.connections.Load()
	if used >= maxConnections {
		return nil, errNotProcessed
	}
	if used > b.pausedAt {
		b.pausedAt = used
		pause := rand.N(time.Duration(used) * repeatPause)
		if err := wait(b.ctx, max(pause, 1), nil); err != nil {
			return nil, err
		}
	}
	return io.NopCloser(bytes.NewReader(b.content)), nil
}

// headerKey returns the key of a header in http.Header. It is the canonical key, with two
// exceptions. If net/http finds one of those under its canonical key, it assumes that the POST
// may be sent twice, and repeats it when a kept-alive connection breaks, although the target may
// be processing it. The target sees no difference, because the names of headers are not
// case-sensitive.
func headerKey(name string) string {
	key := http.CanonicalHeaderKey(name)
	if key == "Idempotency-Key" || key == "X-Idempotency-Key" {
		return strings.ToLower(key)
	}
	return key
}
